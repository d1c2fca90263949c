"""Attention terms: what is typed finds whole words of the prompt, and a term without a map says why."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import daam
from daam.errors import PromptError, TermError
from daam.maps.heat_maps import HeatMaps
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.prompt.terms import every_word, find_term, parse_terms
from tests.pipelines import run, sd1
from tests.places import TOKENIZER

CLIP = ClipTokenizer.from_folder(TOKENIZER)


def table(prompt: str, **settings: object) -> PromptTable:
    return parse_prompt(prompt, CLIP, **settings)  # type: ignore[arg-type]


def typed(prompt: str, term: str, **settings: object) -> list[str]:
    """The pieces of the prompt that a term finds."""
    (parsed,) = parse_terms(term)
    return [prompt[slice(*place.span)] for place in find_term(parsed, table(prompt, **settings))]


FOUND = [
    ("a cute cat", "cat", ["cat"]),
    ("a cute cat", "CAT", ["cat"]),
    ("a CUTE Cat", "cute cat", ["CUTE Cat"]),
    ("(cute:1.2) cat", "cute cat", ["cute:1.2) cat"]),
    ("((cute)) [cat]", "cute cat", ["cute)) [cat"]),
    ("a carpet", "car", []),
    ("a car pet", "carpet", []),
    ("a hot dog", "hot dog", ["hot dog"]),
    ("a hot day, a dog", "hot dog", []),
    ("cat, dog, cat", "cat", ["cat", "cat"]),
    ("cat, dog, cat", "cat#2", ["cat"]),
    ("red, green", '"red, green"', ["red, green"]),
    ("a cat", "(cat:1.3)", ["cat"]),
    ("a cat", "cat:1.3", ["cat"]),
    ("a cat", "[cat]", ["cat"]),
    ("a cat's toy", "cat's", ["cat's"]),
    ("a photorealistic sunglasses", "photorealistic", ["photorealistic"]),
    ("big cat cat cat", "cat cat", ["cat cat"]),
    ("猫 and 犬", "猫", ["猫"]),
    ("a (cat:1.2)BREAK dog", "dog", ["dog"]),
    (r"a cat \(animal\)", r"cat \(animal\)", [r"cat \(animal\)"]),
    (r"a cat \(animal\)", '"(animal)"', [r"(animal\)"]),
    ("a cat#2", r"cat\#2", ["cat#2"]),
    ('a "🐱" sign', r"\"🐱\"", ['"🐱"']),
    ("a big cat", '"big cat', ["big cat"]),
    ("at 10:30 pm", r"10\:30", ["10:30"]),
    ("sunglasses, glasses", "glasses", ["glasses"]),
]


@pytest.mark.parametrize("prompt, term, expected", FOUND)
def test_a_term_finds_whole_words(prompt: str, term: str, expected: list[str]) -> None:
    assert typed(prompt, term) == expected


def test_an_occurrence_counts_in_the_order_of_the_prompt() -> None:
    (second,) = parse_terms("cat#2")
    (place,) = find_term(second, table("cat, dog, cat"))
    assert place.span == (10, 13) and place.columns == (5,)


def test_sub_word_tokens_belong_to_their_word() -> None:
    (place,) = find_term(parse_terms("photorealism")[0], table("a photorealism"))
    assert len(place.columns) > 1


def test_a_word_of_an_edited_prompt_is_found_in_its_entries() -> None:
    places = find_term(parse_terms("cat")[0], table("a [cat:dog:0.5] and cat"))
    assert [(place.entry, place.span) for place in places] == [(0, (3, 6)), (0, (20, 23)), (1, (20, 23))]


def test_a_word_of_every_and_part_is_found() -> None:
    assert [place.part for place in find_term(parse_terms("cat")[0], table("a cat AND a dog AND cat"))] == [0, 2]


def test_an_embedding_is_one_word_of_its_name() -> None:
    prompt = "a bad hands style"
    (place,) = find_term(parse_terms("bad hands")[0], table(prompt, embeddings={"bad hands": 3}))
    assert place.columns == (2, 3, 4)
    assert typed(prompt, "hands", embeddings={"bad hands": 3}) == []


def test_lists_are_read_as_people_write_them() -> None:
    names = [term.text for term in parse_terms(' cat , , "red, green",(dog:1.2), cat, cat#2 ,Ünï ')]
    assert names == ["cat", "red, green", "dog", "cat#2", "Ünï"]
    assert parse_terms("") == [] and parse_terms(" ,, ") == []


def test_every_word_comes_once_in_the_order_of_the_prompt() -> None:
    words = every_word(table("A (red:1.2) cat, a blue [dog|Cat] !!! AND grass, 3"))
    assert [word.text for word in words] == ["a", "red", "cat", "blue", "dog", "grass", "3"]


def test_occurrence_zero_and_huge_lists_are_refused() -> None:
    with pytest.raises(TermError, match="count from 1"):
        parse_terms("cat#0")
    with pytest.raises(TermError, match="at most 9 digits, got 5000"):
        parse_terms("cat#" + "9" * 5000)
    with pytest.raises(TermError, match="at most"):
        parse_terms("a" * 200_000)


def test_a_long_number_is_read_in_time_that_grows_with_its_length() -> None:
    started = time.process_time()
    parse_terms("cat:" + "1" * 50_000 + "x")
    assert time.process_time() - started < 5  # trying every way to split the digits takes minutes


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text('",()[]\\:#12. aÉ猫-', max_size=25))
def test_any_string_gives_terms_or_our_error(text: str) -> None:
    try:
        terms = parse_terms(text)
    except TermError:
        return
    for term in terms:
        (again,) = parse_terms(term.quoted)
        assert (again.words, again.occurrence) == (term.words, term.occurrence)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.text('",()[]<>|\\:#12. aÉ猫-', max_size=25))
def test_every_word_of_any_prompt_is_found_by_its_own_name(prompt: str) -> None:
    try:
        parsed = table(prompt)
    except PromptError:  # (:.) has a weight that is no number
        return
    for word in every_word(parsed):
        (again,) = parse_terms(word.quoted)
        assert find_term(again, parsed), word


@pytest.fixture(scope="module")
def maps() -> HeatMaps:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a cat, " + "very " * 80 + "long unicorn", negative_prompt="ugly")
    return tracer.heat_maps()


REASONS = {
    "dog": "'dog' is not in the prompt; it has: a, cat, very",
    "ugly": "only in the negative prompt",
    "cat#3": "the prompt has only 1 of it",
    "unicorn": "not in the text that was encoded",
}


@pytest.mark.parametrize("term", REASONS)
def test_a_term_without_a_map_says_why(maps: HeatMaps, term: str) -> None:
    assert REASONS[term] in str(maps.explain(term))
    with pytest.raises(TermError):
        maps[term]
    assert term not in maps and "cat" in maps


def test_two_terms_are_not_one(maps: HeatMaps) -> None:
    with pytest.raises(TermError, match="expected one term, got 2"):
        maps["cat, very"]


def test_reasons_of_generated_prompts() -> None:
    generation = daam.generate(
        sd1(), daam.GenerationSettings("a [cat:dog:5] <lora:moody:1>", steps=2, height=64, width=64)
    )
    maps = generation.heat_maps()
    assert "never active" in str(maps.explain("dog")) and "not reach it" in str(maps.explain("dog"))
    assert "extra-network tag" in str(maps.explain("moody"))
    assert "moody" not in list(maps)
    assert maps.explain("cat") is None
