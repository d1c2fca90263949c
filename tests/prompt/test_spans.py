"""Spans point at the typed text that a column came from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daam.errors import PromptError
from daam.prompt import ClipTokenizer, parse_prompt

from .conftest import TOKENIZER_FOLDER

TOKENIZER = ClipTokenizer.from_folder(TOKENIZER_FOLDER)
EMBEDDINGS = {"mystyle": 3, "longti": 20, "bad hands": 2}
PIECES = st.sampled_from(
    ["(", ")", "[", "]", ":", "|", "\\", ",", " ", "\n", " AND ", " BREAK ", "0.5", "3", "cat", "watercolor", "é"]
    + ["[a:", ":0.5]", ":3]", "[x|y]", "(dog:1.2)", ":1.2", "<lora:x:1>", "mystyle", "bad hands", "longti", "猫"]
    + ["😀", "1girl", "don't", "\\(", "&amp;", "ﬁ", "İ", "<|endoftext|>", "cat, " * 14]
)
PROMPTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60)


def typed(prompt, **settings_of_prompt):
    """(piece, typed text) of all columns that stand for typed text, in the first entry."""
    table = parse_prompt(prompt, TOKENIZER, embeddings=EMBEDDINGS, **settings_of_prompt)
    columns = [column for part in table.parts for column in part.schedule[0].columns if column.span]
    return [(column.piece, prompt[slice(*column.span)]) for column in columns]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a (cute:1.3) CAT", [("a", "a"), ("cute", "cute"), ("CAT", "CAT")]),
        ("[dog:cat:0.5] red", [("dog", "dog"), ("red", "red")]),
        ("[fe|]male", [("female", "fe|]male")]),
        ("a <lora:x:1>cat", [("a", "a"), ("cat", "cat")]),
        ("ca<lora:x:1>t", [("cat", "ca<lora:x:1>t")]),
        ("cat AND dog:1.2", [("cat", "cat"), ("dog", "dog")]),
        ("\\(cat\\)", [("(", "("), ("cat", "cat"), (")", ")")]),
        ("ﬁsh", [("ﬁsh", "ﬁsh")]),
        ("cat &amp; dog", [("cat", "cat"), ("&amp;", "&amp;"), ("dog", "dog")]),
        ("a  İ\tcat", [("a", "a"), ("İ", "İ"), ("İ", "İ"), ("cat", "cat")]),
        ("😀cat", [("😀", "😀"), ("cat", "cat")]),
        ("bad  hands", [("bad hands", "bad  hands")] * 2),
        ("(a BREAK b:1.2)", [("a", "a"), ("BREAK", "BREAK"), ("b", "b")]),
    ],
)
def test_columns_point_at_what_was_typed(prompt, expected):
    assert typed(prompt) == expected


def test_pieces_of_one_word_share_its_number():
    columns = parse_prompt("watercolour, (sunglassessss)es mystyle", TOKENIZER, embeddings=EMBEDDINGS).parts[0]
    words = [(column.word, column.piece) for column in columns.schedule[0].columns if column.span]
    assert words[0] == (0, "watercolour") and words[1] == (1, ",")
    assert len({word for word, _ in words if word == 2}) == 1 and sum(word == 2 for word, _ in words) > 1
    assert words[-4:] == [(3, "es"), (4, "mystyle"), (4, "mystyle"), (4, "mystyle")]


def test_vectors_left_behind_by_a_comma_stay_over_the_padding():
    prompt = "cat " * 65 + "cat, red mystyle" + " dog" * 8
    first, second = parse_prompt(prompt, TOKENIZER, embeddings=EMBEDDINGS).parts[0].schedule[0].chunks
    columns = parse_prompt(prompt, TOKENIZER, embeddings=EMBEDDINGS).parts[0].schedule[0].columns
    assert [(fix.offset, fix.vectors) for fix in first.fixes] == [(68, 3)] and not second.fixes
    assert [column.kind for column in columns[69:72]] == ["embedding"] * 3
    assert {prompt[slice(*column.span)] for column in columns[69:72]} == {"mystyle"}
    assert [(column.token, column.kind) for column in columns[79:82]] == [(0, "text")] * 3


@settings(deadline=None, max_examples=150)
@given(PROMPTS, st.sampled_from([(20, None), (7, 5), (1, None)]), st.booleans())
def test_every_span_holds_its_piece(prompt, steps, negative):
    try:
        table = parse_prompt(
            prompt, TOKENIZER, steps=steps[0], hires_steps=steps[1], embeddings=EMBEDDINGS, negative=negative
        )
    except PromptError:
        return
    for part in table.parts:
        for entry in part.schedule:
            check_columns(prompt, entry)


def check_columns(prompt, entry):
    for column in entry.columns:
        if column.span is None:
            assert column.kind in ("start", "padding", "end") and column.piece == "" and column.word is None
            continue
        start, end = column.span
        assert 0 <= start < end <= len(prompt) and column.word is not None
        if column.kind == "text":
            rest = iter(prompt[start:end])
            assert all(character in rest for character in column.piece)
            assert column.piece[0] == prompt[start] and column.piece[-1] == prompt[end - 1]


@settings(deadline=None, max_examples=100)
@given(PROMPTS)
def test_the_typed_text_of_a_word_gives_its_tokens_again(text):
    pieces = TOKENIZER.encode(text)
    if any(piece.token == TOKENIZER.end_token for piece in pieces) or not text.isascii() or "&" in text:
        return
    words = {}
    for piece in pieces:
        words.setdefault(piece.word, []).append(piece)
    for word in words.values():
        again = TOKENIZER.encode(text[word[0].start : word[-1].end])
        assert [piece.token for piece in again] == [piece.token for piece in word]
