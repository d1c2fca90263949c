"""Words as their writers know them: what is typed as one word is one, and punctuation is none."""

from __future__ import annotations

import pytest

from daam.prompt import parse_prompt
from daam.prompt import typed_words as module
from daam.prompt.explanations import why_not_found
from daam.prompt.terms import every_word, find_term, parse_terms
from daam.prompt.typed_words import entry_words, table_words

from .test_spans import TOKENIZER


def words(prompt: str, **settings: object) -> list[str]:
    table = parse_prompt(prompt, TOKENIZER, **settings)  # type: ignore[arg-type]
    return [word.text for word in entry_words(table.parts[0].schedule[0])]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("1girl, 8k, best quality", ["1girl", "8k", "best", "quality"]),
        ("4k1 (masterpiece:1.2)!!", ["4k1", "masterpiece"]),
        ("the cat's hat", ["the", "cat's", "hat"]),
        ("red-haired, long_hair", ["red", "haired", "long", "hair"]),
        ("1 (girl:1.2) 1(girl:1.2)", ["1", "girl", "1", "girl"]),
        ("😀 a… “quoted”", ["😀", "a", "quoted"]),
        ("... , ;", []),
    ],
)
def test_words_are_those_that_were_typed(prompt: str, expected: list[str]) -> None:
    assert words(prompt) == expected


def test_an_embedding_is_joined_with_nothing() -> None:
    assert words("mystyle 8k", embeddings={"mystyle": 2})[1:] == ["8k"]


def test_a_typed_word_is_one_term_and_every_piece_keeps_its_column() -> None:
    table = parse_prompt("a 1girl", TOKENIZER)
    assert [term.text for term in every_word(table)] == ["a", "1girl"]
    (place,) = find_term(parse_terms("1girl")[0], table)
    assert (place.columns, place.span) == ((2, 3), (2, 7))
    assert [column.piece for column in table.parts[0].schedule[0].columns[1:4]] == ["a", "1", "girl"]


def test_a_part_of_a_typed_word_says_whose_part_it_is() -> None:
    table = parse_prompt("a 1girl", TOKENIZER)
    (girl,) = parse_terms("girl")
    assert find_term(girl, table) == []
    assert why_not_found(girl, table, None, "") == "'girl' is part of the word '1girl'"


def test_a_sign_can_still_be_asked_for() -> None:
    table = parse_prompt("red, green", TOKENIZER)
    assert [place.columns for term in parse_terms('"red, green"') for place in find_term(term, table)] == [(1, 2, 3)]


def test_words_of_an_alternation_are_derived_once_for_each_text(monkeypatch: pytest.MonkeyPatch) -> None:
    table = parse_prompt("[red|blue] circle", TOKENIZER, steps=50)
    made: list[object] = []
    original = module.EntryWords
    monkeypatch.setattr(module, "EntryWords", lambda columns: made.append(columns) or original(columns))
    for term in every_word(table) * 3:
        assert find_term(term, table)
    assert len(table.parts[0].schedule) == 50 and len(made) == len(table_words(table).texts) == 2
