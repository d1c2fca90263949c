"""Rewriting emphasis changes what it should and nothing else, as the reading of the whole prompt confirms."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from daam.errors import PromptError, SettingError
from daam.prompt import ClipTokenizer, PromptTable, TokenColumn, parse_prompt
from daam.prompt.typed_words import entry_words
from daam.rewriting import change_weight, remove, remove_all, set_weight, set_weights
from tests.places import TOKENIZER

CLIP = ClipTokenizer.from_folder(TOKENIZER)
VECTORS = json.loads(Path(__file__).parents[1].joinpath("data", "rewriting_vectors.json").read_text("utf-8"))
STEPS = 6
COMMA = CLIP.comma_token

Span = tuple[int, int]


def table(prompt: str, negative: bool = False) -> PromptTable:
    return parse_prompt(prompt, CLIP, steps=STEPS, negative=negative)


def typed_columns(parsed: PromptTable) -> list[list[TokenColumn]]:
    """The columns with text of each schedule entry of each part."""
    return [
        [column for column in entry.columns if column.kind == "text"]
        for part in parsed.parts
        for entry in part.schedule
    ]


def frame(parsed: PromptTable) -> list[tuple[float, list[tuple[int, int]]]]:
    return [(part.weight, [(entry.first_step, entry.end_at_step) for entry in part.schedule]) for part in parsed.parts]


def span_of(prompt: str, text: str) -> Span:
    start = prompt.index(text)
    return start, start + len(text)


def is_in(column: TokenColumn, span: Span) -> bool:
    """BREAK is never in: within brackets it is a word for the host, but nobody means it as one."""
    assert column.span is not None
    return span[0] <= column.span[0] < span[1] and column.piece != "BREAK"


def is_sign(column: TokenColumn) -> bool:
    return not any(letter.isalnum() or ord(letter) >= 0x2000 for letter in column.piece)


def check_set(prompt: str, span: Span, wanted: float | None, by: float, new: str, new_span: Span) -> None:
    """By the real reading: the words at the span have the wanted weight, or their own and `by`; the rest is as was."""
    before, after = table(prompt), table(new)
    assert frame(before) == frame(after)
    assert [tag.text for tag in before.tags] == [tag.text for tag in after.tags]
    for columns, others in zip(typed_columns(before), typed_columns(after), strict=True):
        assert [column.token for column in columns] == [column.token for column in others]
        assert [column.word for column in columns] == [column.word for column in others]
        assert [column.chunk for column in columns] == [column.chunk for column in others]
        for column, other in zip(columns, others):
            if wanted is None and math.isclose(other.weight, column.weight, rel_tol=1e-9) and is_sign(column):
                continue
            assert is_in(column, span) == is_in(other, new_span)
            if is_in(column, span):
                target = column.weight + by if wanted is None else wanted
                assert abs(other.weight - target) <= (0.0101 if wanted is None else 0.005), (new, other)
            else:
                assert math.isclose(other.weight, column.weight, rel_tol=1e-9), (new, other)


def check_removed(prompt: str, span: Span, new: str) -> None:
    """By the real reading: the words at the span are gone, and commas at most; the rest is as was."""
    before, after = table(prompt), table(new)
    assert [part.weight for part in before.parts] == [part.weight for part in after.parts]
    for part, new_part in zip(before.parts, after.parts):
        for step in range(1, STEPS + 1):
            columns = [column for column in _at(part, step) if not is_in(column, span)]
            others = _at(new_part, step)
            kept = [(column.token, round(column.weight, 9)) for column in columns]
            found = [(column.token, round(column.weight, 9)) for column in others]
            assert _is_subsequence(found, kept), (kept, found)
            missing = Counter(kept) - Counter(found)
            assert all(token == COMMA for token, _ in missing), missing


def _at(part: Any, step: int) -> list[TokenColumn]:
    entry = next(entry for entry in part.schedule if entry.first_step <= step <= entry.end_at_step)
    return [column for column in entry.columns if column.kind == "text"]


def _is_subsequence(short: list[Any], long: list[Any]) -> bool:
    rest = iter(long)
    return all(item in rest for item in short)


WRITTEN = [
    ("a cat", "cat", 1.2, "a (cat:1.2)"),
    ("a (cat:1.2)", "cat", 1.3, "a (cat:1.3)"),
    ("a (cat:1.2)", "cat", 1, "a cat"),
    ("a ( cat : 1.2 )", "cat", 1.3, "a ( cat :1.3)"),
    ("((cat))", "cat", 1.3, "(cat:1.3)"),
    ("((cat))", "cat", 1, "cat"),
    ("[cat]", "cat", 0.8, "(cat:0.8)"),
    ("((a cat:1.2) dog:1.1)", "a cat", 1.3, "((a cat:1.18) dog:1.1)"),
    ("(a red cat:1.3)", "red", 1.4, "(a (red:1.08) cat:1.3)"),
    ("(a (red:1.08) cat:1.3)", "red", 1.3, "(a red cat:1.3)"),
    (r"a cat \(animal\)", r"(animal\)", 1.2, r"a cat (\(animal\):1.2)"),
    ("[cat:dog:0.5]", "dog", 1.2, "[cat:(dog:1.2):0.5]"),
    ("[cat:0.5]", "cat", 1.2, "[(cat:1.2):0.5]"),
    ("([cat:0.5]:1.2)", "cat", 1.3, "([cat:0.5]:1.3)"),
    ("[cat|dog]s", "cat|dog]s", 1.2, "([cat|dog]s:1.2)"),
    ("red [cat|dog] hat", "red [cat|dog] hat", 1.2, "(red [cat|dog] hat:1.2)"),
    ("a cat:1.5 AND dog", "cat", 1.2, "a (cat:1.2):1.5 AND dog"),
    ("a <lora:x:1> cat", "a <lora:x:1> cat", 1.2, "(a <lora:x:1> cat:1.2)"),
    ("a (cat", "cat", 1.2, "a ((cat:1.09)"),
    ("([a)] b", "a", 1.3, "([(a:1.3))] b"),
    ("(a BREAK b:1.2)", "a", 1.4, "((a:1.17) BREAK b:1.2)"),
    ("cat BREAK dog", "cat BREAK dog", 1.2, "(cat:1.2) BREAK (dog:1.2)"),
    ("(cute:1.2) cat", "cute:1.2) cat", 1.4, "(cute cat:1.4)"),
    ("(a cute:1.2) cat", "cute:1.2) cat", 1.4, "(a (cute:1.17):1.2) (cat:1.4)"),
    ("(cat)AND dog", "cat", 1, "(cat:1)AND dog"),
    ("猫 and 🐱 x", "🐱", 1.3, "猫 and (🐱:1.3) x"),
    ("a cat", "cat", -0.5, "a (cat:-0.5)"),
    ("a (cat:1.2)", "cat", 0, "a (cat:0)"),
    ("a (cat:1.2), dog", "cat", 1.2, "a (cat:1.2), dog"),
    ("(cat)", "cat", 1.1, "(cat)"),
    ("(a  cat:1.3)", "a  cat", 1, "a  cat"),
]


@pytest.mark.parametrize("prompt, text, weight, expected", WRITTEN)
def test_a_weight_is_written_as_a_person_would(prompt: str, text: str, weight: float, expected: str) -> None:
    result = set_weight(prompt, span_of(prompt, text), weight)
    assert result.prompt == expected
    check_set(prompt, span_of(prompt, text), weight, 0, *result)


REMOVED = [
    ("a, cat, b", "cat", "a, b"),
    ("a,cat,b", "cat", "a,b"),
    ("a, cat", "cat", "a"),
    ("cat, b", "cat", "b"),
    ("a cat b", "cat", "a b"),
    ("a,\ncat,\nb", "cat", "a,\nb"),
    ("a cat\nb", "cat", "a\nb"),
    ("a cat, b", "cat", "a, b"),
    ("a (cat:1.2) b", "cat", "a b"),
    ("(a, cat:1.3)", "cat", "(a:1.3)"),
    ("(a, ((cat)):1.3), b", "cat", "(a:1.3), b"),
    ("(cat, ), b", "cat", "b"),
    ("[cat:dog:0.5]", "cat", "[:dog:0.5]"),
    ("[cat:dog:0.5]", "dog", "[cat::0.5]"),
    ("[cat|dog|cow]", "dog", "[cat||cow]"),
    ("x, [cat:0.5], b", "cat", "x, b"),
    ("x-cat-y", "cat", "x- -y"),
    ("cat", "cat", ""),
    ("a cat AND dog", "cat", "a AND dog"),
    ("a cat:0.5 AND dog", "cat", "a:0.5 AND dog"),
    ("a, cat BREAK b", "cat", "a BREAK b"),
    ("a BREAK cat, b", "cat", "a BREAK b"),
    ("(a cute:1.2) cat b", "cute:1.2) cat", "(a:1.2) b"),
    (r"a \(cat\) b", "cat", r"a \( \) b"),
    ("(cat <lora:x:1>:1.2)", "cat", "(<lora:x:1>:1.2)"),
    ("a 🐱 , 猫", "猫", "a 🐱"),
]


@pytest.mark.parametrize("prompt, text, expected", REMOVED)
def test_a_word_goes_with_its_comma_and_brackets(prompt: str, text: str, expected: str) -> None:
    result = remove(prompt, span_of(prompt, text))
    assert result.prompt == expected
    assert result.span[0] == result.span[1] <= len(expected)
    check_removed(prompt, span_of(prompt, text), expected)


REFUSED = [
    ("carpet", "car", "cut"),
    ("(cat)dog", "cat", "joined"),
    ("(a b:0)", "a", "weight 0"),
    ("<lora:cat:1> cat", "cat:", "extra-network tag"),
    ("a BREAK b", "BREAK", "expected a word"),
    ("a, b", " ", "expected a word"),
    ("(a:..)", "a", "no number"),
    ("[cat|dog]s", "dog]s", "joined or cut"),
    ("(a:[1.2:5]) b", "a", "schedule"),
]


@pytest.mark.parametrize("prompt, text, reason", REFUSED)
def test_what_would_change_more_is_refused(prompt: str, text: str, reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        set_weight(prompt, span_of(prompt, text), 1.0 if prompt.startswith("(cat") else 1.37)


@pytest.mark.parametrize("weight", [math.nan, math.inf, 1001, True, "1.2", None])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(SettingError, match="weight"):
        set_weight("a cat", (2, 5), weight)


@pytest.mark.parametrize("span", [(-1, 2), (2, 2), (3, 2), (0, 99)])
def test_a_span_outside_the_prompt_is_refused(span: Span) -> None:
    with pytest.raises(SettingError, match="span"):
        set_weight("a cat", span, 1.2)


def test_removing_what_would_make_a_weight_of_a_part_is_refused() -> None:
    with pytest.raises(PromptError, match="AND"):
        remove("a:1.2 cat", (6, 9))
    assert remove("a:1.2 cat", (6, 9), negative=True).prompt == "a:1.2"


def test_the_negative_prompt_knows_no_parts() -> None:
    assert set_weight("cat AND dog", (0, 11), 1.2, negative=True).prompt == "(cat AND dog:1.2)"
    assert set_weight("cat AND dog", (0, 11), 1.2).prompt == "(cat:1.2) AND (dog:1.2)"


def test_several_places_are_changed_in_one_go() -> None:
    prompt = "cat, (a cat:1.2), [cat:dog:3]"
    spans = [(0, 3), (8, 11), (19, 22)]
    assert set_weights(prompt, spans, 0.6).prompt == "(cat:0.6), (a (cat:0.5):1.2), [(cat:0.6):dog:3]"
    assert remove_all(prompt, spans).prompt == "(a:1.2), [:dog:3]"


STEPPED = [
    "a cat b",
    "(a cat b:1.3)",
    "((a cat b))",
    "[a cat b]",
    "[x:(a cat b:1.7):0.5]",
    "a (x, cat b:0.85",
    r"\(cat\)",
]


@pytest.mark.parametrize("prompt", STEPPED)
def test_steps_of_a_tenth_do_not_drift_and_lead_back(prompt: str) -> None:
    span = span_of(prompt, "cat")
    first = change_weight(prompt, span, 0)[:2]
    seen = [first]
    for by in (0.1, 0.1, 0.1, -0.1, -0.1, -0.1, -0.1, -0.1, 0.1, 0.1):
        seen.append(change_weight(*seen[-1], by))
    for place in (6, 10):
        assert seen[place] == first
    assert seen[1] == seen[5] and seen[2] == seen[4]


def test_a_phrase_of_several_weights_keeps_their_differences() -> None:
    result = change_weight("a cute (cat:1.3) b", (2, 11), 0.1)
    assert result == ("a (cute:1.1) (cat:1.4) b", (3, 17))
    assert change_weight(*result, -0.1).prompt == "a cute (cat:1.3) b"
    assert change_weight("(red:1.5), (cat:1.2)", (1, 15), 0.1).prompt == "(red:1.6), (cat:1.3)"
    assert change_weight("red, cat", (0, 8), 0.1).prompt == "(red, cat:1.1)"


WORDS = [
    "a",
    "cat",
    "red",
    "'s",
    "10",
    "sun",
    "glasses",
    "猫",
    "🐱",
    "carpet",
    "!",
    ",",
    ", ",
    ";",
    "é",
    "x-y",
    "don't",
]
SIGNS = ["(", ")", "[", "]", ":1.2)", ":0.8)", ":", "|", ":0.5]", ":3]", "\\(", "\\)", "\\", " ", " ", "\n", " BREAK "]
MORE = [
    " AND ",
    ":0.7",
    "<lora:x:1>",
    "(cat:1.3)",
    "((sun))",
    "[a|b]",
    "[cat:dog:0.5]",
    "[(sun:1.4)s|b] ",
    "(BREAK)",
    ")BREAK(",
    "_",
]
PIECES = st.one_of(st.sampled_from(WORDS), st.just(" "), st.sampled_from(SIGNS), st.sampled_from(MORE))
PROMPTS = st.lists(PIECES, min_size=1, max_size=14).map("".join)


def some_phrase(parsed: PromptTable, data: st.DataObject) -> Span:
    """A word, or a run of them, of any entry of the token table."""
    entries = [words for part in parsed.parts for entry in part.schedule if (words := entry_words(entry))]
    assume(entries)
    words = data.draw(st.sampled_from(entries))
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 2, len(words) - 1)))
    return words[first].span[0], words[last].span[1]


def parsed_or_skipped(prompt: str) -> PromptTable:
    try:
        return table(prompt)
    except PromptError:
        assume(False)
        raise


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(PROMPTS, st.sampled_from([0.6, 0.9, 1.0, 1.1, 1.2, 1.35, -1.0, 0.0, 2.5]), st.data())
def test_any_word_gets_any_weight_and_nothing_else_changes(prompt: str, weight: float, data: st.DataObject) -> None:
    span = some_phrase(parsed_or_skipped(prompt), data)
    try:
        result = set_weight(prompt, span, weight)
    except PromptError:
        return
    check_set(prompt, span, weight, 0, *result)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(PROMPTS, st.sampled_from([0.1, -0.1]), st.data())
def test_any_word_can_be_stepped_and_stepped_back(prompt: str, by: float, data: st.DataObject) -> None:
    span = some_phrase(parsed_or_skipped(prompt), data)
    try:
        result = change_weight(prompt, span, by)
        back = change_weight(*result, -by)
    except PromptError:
        return
    check_set(prompt, span, None, by, *result)
    check_set(prompt, span, None, 0, *back)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(PROMPTS, st.data())
def test_any_word_can_be_removed_and_nothing_else_goes(prompt: str, data: st.DataObject) -> None:
    span = some_phrase(parsed_or_skipped(prompt), data)
    try:
        result = remove(prompt, span)
    except PromptError:
        return
    check_removed(prompt, span, result.prompt)


ORDINARY = ["a", "cat", "(red:1.2)", "((sun))", "[dog]", "(a big:1.3)", r"\(x\)", "猫"]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(ORDINARY), min_size=1, max_size=5))
def test_ordinary_prompts_are_never_refused(pieces: list[str]) -> None:
    prompt = ", ".join(pieces)
    for word in entry_words(table(prompt).parts[0].schedule[0]):
        for weight in (0.7, 1.0, 1.3):
            check_set(prompt, word.span, weight, 0, *set_weight(prompt, word.span, weight))
        check_removed(prompt, word.span, remove(prompt, word.span).prompt)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.integers(0, 40), st.integers(1, 10))
@example("\\", 0, 1)
def test_any_text_is_answered_or_refused(prompt: str, start: int, length: int) -> None:
    for function in (change_weight, remove):
        with suppress(PromptError, SettingError):
            function(prompt, (start, start + length))


HOSTILE = [
    "(" * 20_000 + "cat",
    "[" * 10_000 + "cat" + "]" * 10_000,
    "([" * 3_000 + "cat" + ")]" * 3_000,
    "[a|b]" * 1_000 + "cat",
    "cat, " * 4_000,
    "<a:" * 3_000 + "cat",
]


@pytest.mark.slow
@pytest.mark.parametrize("prompt", HOSTILE, ids=lambda prompt: prompt[:6])
def test_a_hostile_prompt_costs_seconds(prompt: str) -> None:
    started = time.process_time()
    with suppress(PromptError):
        set_weight(prompt, span_of(prompt, "cat"), 1.2)
    assert time.process_time() - started < 10


def replay(vector: dict[str, Any]) -> dict[str, Any]:
    operations = {"set": set_weight, "change": change_weight}
    span = (vector["span"][0], vector["span"][1])
    negative = vector.get("negative", False)
    try:
        if vector["operation"] == "remove":
            result = remove(vector["prompt"], span, negative=negative)
        else:
            result = operations[vector["operation"]](vector["prompt"], span, vector["value"], negative=negative)
    except (PromptError, SettingError):
        return {"error": True}
    return {"prompt": result.prompt, "span": list(result.span)}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: f"{vector['operation']} {vector['prompt']!r}")
def test_the_vectors_shared_with_javascript_hold(vector: dict[str, Any]) -> None:
    assert replay(vector) == vector["result"]


def test_there_are_enough_vectors_of_each_kind() -> None:
    kinds = Counter((vector["operation"], "error" in vector["result"]) for vector in VECTORS["vectors"])
    assert all(kinds[operation, False] >= 40 for operation in ("set", "change", "remove"))
    assert sum(count for (_, is_error), count in kinds.items() if is_error) >= 10
    assert len(VECTORS["vectors"]) == len({json.dumps(vector, sort_keys=True) for vector in VECTORS["vectors"]}) >= 150
