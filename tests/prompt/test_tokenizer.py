"""Our tokenizer against transformers' own."""

import unicodedata

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from daam.errors import ModelError
from daam.prompt import ClipTokenizer, parse_prompt

from .conftest import TOKENIZER_FOLDER

TEXTS = ["", "a photo of a cat", "Don't 1girl 8k, (x)!!! ...", "naïve café 猫 😀🐱 кошка", "supercalifragilistic" * 3]
OURS = ClipTokenizer.from_folder(TOKENIZER_FOLDER)
THEIRS = transformers.CLIPTokenizer.from_pretrained(TOKENIZER_FOLDER)
PLAIN = st.text(st.sampled_from("abcdefgh ijklmnop qrstuvwxyz ABC 0123 ,.!?'-_ ö猫ñ"), max_size=60)


def ids(pieces):
    return [piece.token for piece in pieces]


@pytest.mark.parametrize("text", TEXTS)
def test_gives_the_ids_of_transformers(text):
    assert ids(OURS.encode(text)) == THEIRS(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None, max_examples=100)
@given(PLAIN)
def test_gives_the_ids_of_transformers_for_plain_text(text):
    assert ids(OURS.encode(text)) == THEIRS(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", ["CLIPTokenizer", "CLIPTokenizerFast"])
@pytest.mark.parametrize("text", TEXTS)
def test_can_be_taken_from_transformers(name, text):
    tokenizer = ClipTokenizer.from_transformers(getattr(transformers, name).from_pretrained(TOKENIZER_FOLDER))
    assert tokenizer.encode(text) == OURS.encode(text)
    assert (tokenizer.start_token, tokenizer.end_token, tokenizer.comma_token) == (49406, 49407, 267)


def test_a_pipelines_tokenizer_reads_a_prompt_as_it_is():
    assert parse_prompt("a (red:1.2) cat", THEIRS) == parse_prompt("a (red:1.2) cat", OURS)
    with pytest.raises(ModelError, match="expected a CLIPTokenizer of transformers, got str"):
        parse_prompt("a cat", "clip")


def test_special_text_is_one_token():
    assert ids(OURS.encode("a!<|endoftext|>b <|STARTOFTEXT|>")) == [320, 256, 49407, 321, 49406]


def test_covers_the_whole_character_with_each_of_its_tokens():
    pieces = OURS.encode("x🫠")
    assert len(pieces) > 2 and {(piece.start, piece.end) for piece in pieces[1:]} == {(1, 2)}


def test_refuses_a_folder_without_a_vocabulary(tmp_path):
    with pytest.raises(ModelError, match=r"vocab\.json"):
        ClipTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("other", [object(), "CLIPTokenizer"])
def test_refuses_another_kind_of_tokenizer(other):
    with pytest.raises(ModelError, match="expected a CLIPTokenizer"):
        ClipTokenizer.from_transformers(other)


def test_refuses_another_vocabulary():
    with pytest.raises(ModelError, match="endoftext"):
        ClipTokenizer({"a": 0}, [])


class WithoutFtfy:
    """As transformers' slow CLIPTokenizer is where ftfy is not installed: `nlp` cleans texts in a way of its own."""

    fix_text = None

    class nlp:  # noqa: N801
        @staticmethod
        def tokenize(text):
            spaced = "".join(f" {each} " if "\u4e00" <= each <= "\u9fff" else each for each in text)
            return unicodedata.normalize("NFC", spaced).lower().split()


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("A Cat’s &amp; café", ["A", "Cat", "’", "’", "s", "&", "amp", ";", "café"]),
        ("  Ｗｉ\tﬁn ", ["Ｗ"] * 3 + ["ｉ"] * 3 + ["ﬁ"] * 3 + ["n"]),
        ("cafe\u0301", ["cafe\u0301"]),
        ("猫犬", ["猫", "猫", "猫", "犬", "犬", "犬"]),
    ],
)
def test_cleans_as_the_hosts_tokenizer_and_still_knows_the_places(text, pieces):
    found = OURS.cleaning_as(WithoutFtfy()).encode(text)
    assert [text[piece.start : piece.end] for piece in found] == pieces


def test_without_ftfy_other_tokens_come_out():
    text = "Ｗide"
    assert ids(OURS.cleaning_as(WithoutFtfy()).encode(text)) != ids(OURS.encode(text)) == ids(OURS.encode("wide"))


def test_a_fast_tokenizer_cleans_in_its_own_way():
    theirs = transformers.CLIPTokenizerFast.from_pretrained(TOKENIZER_FOLDER)
    for text in [*TEXTS, "A Cat’s &amp; ﬁn", "cafe\u0301\n\tＷｉｄｅ"]:
        found = OURS.cleaning_as(theirs).encode(text)
        assert ids(found) == theirs(text, add_special_tokens=False)["input_ids"]


def test_a_tokenizer_that_mends_texts_changes_nothing():
    class Mending(WithoutFtfy):
        fix_text = str

    assert OURS.cleaning_as(Mending()).encode("Cat’s") == OURS.encode("Cat’s")
    assert OURS.cleaning_as(None).encode("Cat’s") == OURS.encode("Cat’s")
