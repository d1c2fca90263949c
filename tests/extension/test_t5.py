"""T5's columns behind CLIP's: each piece belongs to the word that it was cut from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.trainers import UnigramTrainer

from daam.errors import DaamError, TraceError
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.prompt.t5 import T5, Runs, in_t5_columns, with_t5_columns
from daam.prompt.terms import find_term, parse_terms
from daam.prompt.typed_words import entry_words
from tests.places import TOKENIZER

CLIP = ClipTokenizer.from_folder(TOKENIZER)
TEXTS = ["a red circle and a blue square on a white background", "extraordinary sunglasses, a cat in a hat (again)"]
END, PAD = 1, 0


def make_tokenizer() -> Tokenizer:
    """Cuts as T5's does: pieces of words, with the blank before a word in its first piece."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.pre_tokenizer = Metaspace()
    trainer = UnigramTrainer(vocab_size=60, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    return tokenizer


CUTTER = make_tokenizer()


def cut(runs: Runs) -> list[list[tuple[int, int, int]]]:
    encodings = [CUTTER.encode(text, add_special_tokens=False) for text, _ in runs]
    return [[(token, *place) for token, place in zip(each.ids, each.offsets)] for each in encodings]


def t5_of(table: PromptTable) -> T5:
    """An encoder that does what the WebUI's does with the runs of a text."""
    runs = {entry.text: entry.attention for part in table.parts for entry in part.schedule}

    def tokens(text: str, count: int) -> list[int]:
        found = [
            token
            for run, weight in runs[text]
            if (run, weight) != ("BREAK", -1.0)
            for token, *_ in cut([(run, 1.0)])[0]
        ]
        return [*found, END, *[PAD] * count][:count]

    return T5(cut, tokens)


def table_of(prompt: str) -> PromptTable:
    table = parse_prompt(prompt, CLIP, comma_padding=0)
    return with_t5_columns(table, t5_of(table))


@pytest.mark.parametrize(
    "prompt",
    [
        TEXTS[0],
        "an (extraordinary:1.3) cat, ((sunglasses)) [hat]",
        "a cat BREAK a \\(red\\) hat",
        "a [cat:dog:0.5] in a hat AND a circle",
        "  two   blanks, a red-white circle  ",
    ],
)
def test_the_pieces_of_both_tokenizers_spell_each_word(prompt: str) -> None:
    for part in table_of(prompt).parts:
        for entry in part.schedule:
            count = len(entry.columns) // 2
            assert [column.column for column in entry.columns] == list(range(2 * count))
            for word in entry_words(entry):
                spans = [entry.columns[column].span for column in word.columns if column >= count]
                letters = {place for start, end in filter(None, spans) for place in range(start, end)}
                assert letters == set(range(*word.span)), word
                weights = {entry.columns[column].weight for column in word.columns}
                assert len(weights) == 1
            kinds = [column.kind for column in entry.columns[count:]]
            assert kinds.count("end") == 1 and kinds.index("end") < kinds.index("padding")


def test_entries_of_a_schedule_have_the_columns_of_the_longest() -> None:
    table = table_of(f"[a cat:{'a red hat, ' * 30}:0.5]")
    sizes = [len(entry.columns) for entry in table.parts[0].schedule]
    assert sizes[0] == sizes[1] and sizes[0] % (2 * 77) == 0 and sizes[0] > 2 * 77
    (term,) = parse_terms("cat")
    (place,) = find_term(term, table)
    assert place.columns[0] < 77 and min(column for column in place.columns[1:]) > sizes[0] // 2


def test_what_the_webui_cuts_away_has_no_column() -> None:
    table = table_of("extraordinary " * 74)
    entry = table.parts[0].schedule[0]
    assert len(entry.columns) == 2 * 77 and all(column.kind == "text" for column in entry.columns[77:])


def test_other_tokens_than_the_tokenizers_are_an_error() -> None:
    table = parse_prompt("a cat", CLIP)
    wrong = replace(t5_of(table), tokens=lambda text, count: [7] * count)
    with pytest.raises(TraceError, match="T5"):
        with_t5_columns(table, wrong)


@given(st.text(max_size=60))
def test_any_prompt_has_a_table(prompt: str) -> None:
    try:
        table = table_of(prompt)
    except DaamError:
        return
    for part in table.parts:
        for entry in part.schedule:
            for column in entry.columns:
                if column.span is not None:
                    assert 0 <= column.span[0] < column.span[1] <= len(prompt)


@pytest.mark.parametrize("at_break", ["nothing", "end", "word"])
def test_an_encoder_that_stands_alone_has_all_the_columns(at_break: Any) -> None:
    prompt = "a (red:1.3) circle BREAK a [blue] square"
    table = parse_prompt(prompt, CLIP, comma_padding=0)
    runs = table.parts[0].schedule[0].attention
    broken = runs.index(("BREAK", -1.0))
    kept = {"nothing": [*runs[:broken], *runs[broken + 1 :]], "end": runs[:broken], "word": runs}[at_break]
    made = [token for run, _ in kept for token, *_ in cut([(run, 1.0)])[0]]
    found = in_t5_columns(table, T5(cut, lambda *_: [*made, END, PAD, PAD], at_break))
    (entry,) = found.parts[0].schedule
    assert [column.token for column in entry.columns] == [*made, END, PAD, PAD]
    assert [column.column for column in entry.columns] == list(range(len(made) + 3))
    assert [column.kind for column in entry.columns[-3:]] == ["end", "padding", "padding"]
    words = [word.text for word in entry_words(entry)]
    assert words[:3] == ["a", "red", "circle"] and ("square" in words) == (at_break != "end")
    weights = {round(column.weight, 3) for column in entry.columns if column.word == 1}
    assert weights == {1.3}


def test_break_beside_editing_is_refused_where_it_makes_a_text_of_its_own() -> None:
    """Its end would be taken for the schedule's next entry; alone, and where nothing is made of it, it is none."""
    table = parse_prompt("a [cat:dog:0.5] BREAK a hat", CLIP, comma_padding=0)
    with pytest.raises(TraceError, match="BREAK stands beside prompt editing"):
        in_t5_columns(table, replace(t5_of(table), at_break="end"))
    assert len(in_t5_columns(table, t5_of(table)).parts[0].schedule) == 2
