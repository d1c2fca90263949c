"""Frames of a prompt, and what the browser writes from them: the vectors of the rewriting, and any state at all."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import time
from collections import Counter
from cProfile import Profile
from pathlib import Path
from pstats import Stats
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daam.errors import PromptError
from daam.prompt import PromptTable, TokenColumn
from daam.prompt.typed_words import table_words
from daam.rewriting import edit_frames, remove, set_weight
from daam.rewriting.frame_checks import TOO_LONG
from daam.rewriting.numbers import rounded
from tests.rewriting.test_rewriting import HOSTILE, PROMPTS, STEPS, VECTORS, span_of, table

NODE = shutil.which("node")
RENDER = Path(__file__).parents[1] / "javascript" / "render.js"
COMMA = ","

Span = tuple[int, int]
State = dict[int, dict[str, Any]]

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def render(cases: list[tuple[str, dict[str, Any], State]]) -> list[dict[str, Any]]:
    """All cases in one process."""
    data = [{"base": base, "frames": frames, "state": list(state.items())} for base, frames, state in cases]
    done = subprocess.run([str(NODE), str(RENDER)], input=json.dumps(data), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def words_of(parsed: PromptTable) -> list[Span]:
    """Signs too: what is next to them is harder to edit, and the frames may be asked for anything."""
    return sorted({word.span for _, entry in table_words(parsed) for word in entry.words})


def framed(prompt: str, *first: Span, negative: bool = False) -> tuple[list[Span], dict[str, Any]]:
    """The frames of some spans, and of all words that share nothing with them."""
    try:
        words = words_of(table(prompt, negative))
    except PromptError:
        words = []
    rest = [word for word in words if all(word[1] <= start or end <= word[0] for start, end in first)]
    spans = [*first, *rest]
    return spans, edit_frames(prompt, spans, negative=negative).to_data()


# ---- Frames


def test_a_frame_says_where_the_own_bracket_is_what_is_around_it_and_how_it_reads_without_the_word() -> None:
    prompt = "(a ((red)) cat:1.2), b"
    spans = words_of(table(prompt))
    found = edit_frames(prompt, spans)
    frames = dict(zip((prompt[slice(*span)] for span in spans), found.words))
    (place,) = frames["red"].places
    assert (place.start, place.end) == (3, 10) and place.outer == 1.2
    assert place.strip == ((3, 4), (4, 5), (8, 9), (9, 10))
    assert frames["red"].weight == pytest.approx(1.2 * 1.1 * 1.1)
    assert frames["red"].remove == (3, 11, "") and frames["red"].room == (1, 14)
    assert not frames["cat"].places[0].strip and frames["cat"].places[0].container == place.container
    assert frames["b"].places[0].container != place.container
    (bracket,) = found.brackets
    assert [prompt[slice(*spans[word])] for word in bracket.words] == ["a", "red", "cat"]
    assert bracket.remove == (0, 21, "")
    assert json.loads(json.dumps(found.to_data()))["words"][1]["span"] == list(frames["red"].span)


@pytest.mark.parametrize(
    ("prompt", "text", "weight"),
    [("carpet", "car", 1.37), ("(a b:0)", "a", 1.37), ("<lora:cat:1> cat", "cat:", 1.37), ("a BREAK b", "BREAK", 1.37),
     ("(a:..)", "a", 1.37), ("[cat|dog]s", "dog]s", 1.37)],
)  # fmt: skip
def test_a_refused_weight_has_the_sentence_of_set_weight(prompt: str, text: str, weight: float) -> None:
    span = span_of(prompt, text)
    with pytest.raises(PromptError) as refused:
        set_weight(prompt, span, weight)
    (frame,) = edit_frames(prompt, [span]).words
    assert frame.why_not is not None and not frame.places
    numbers = re.compile(r"-?\d[\d.]*$|-?\d[\d.]*(?=;)")
    assert numbers.sub("#", frame.why_not) == numbers.sub("#", str(refused.value))


def test_a_refused_removal_has_the_sentence_of_remove() -> None:
    with pytest.raises(PromptError) as refused:
        remove("a:1.2 cat", (6, 9))
    assert edit_frames("a:1.2 cat", [(6, 9)]).words[0].why_stays == str(refused.value)
    assert edit_frames("a:1.2 cat", [(6, 9)], negative=True).words[0].why_stays is None


def test_75_words_with_brackets_are_framed_in_well_under_a_second() -> None:
    """Counted in calls of functions, as seconds tell of the machine: 0.6 million are 0.3 s of an idle core."""
    words = [f"{letter}{other}" for letter in "abcdefghijklm" for other in "nopqrs"][:75]
    prompt = ", ".join(f"({word}:1.2)" if number % 3 == 0 else f"(big {word}:0.9)" for number, word in enumerate(words))
    spans = words_of(table(prompt))
    with Profile() as profile:
        frames = edit_frames(prompt, spans)
    assert Stats(profile).total_calls < 1_000_000
    assert all(frame.why_not is None and frame.why_stays is None for frame in (*frames.words, *frames.brackets))


@pytest.mark.parametrize("prompt", [*HOSTILE, "x-y " * 500, "(:" * 200], ids=lambda prompt: prompt[:6])
def test_a_hostile_prompt_is_framed_or_refused_within_seconds(prompt: str) -> None:
    spans = [(match.start(), match.end()) for match in re.finditer(r"\w+|[^\w\s]", prompt)][:3000]
    started = time.process_time()
    frames = edit_frames(prompt, spans)
    assert time.process_time() - started < 15
    assert len(frames.words) == len(spans)


def test_what_would_take_too_long_to_check_is_refused_after_the_first_words() -> None:
    prompt = "a [cat|dog] in [red:blue:0.5], " * 60
    started = time.process_time()
    frames = edit_frames(prompt, words_of(table(prompt))).words
    assert time.process_time() - started < 12
    reasons = [frame.why_stays for frame in frames]
    assert reasons[0] is None and reasons[-2] is not None and TOO_LONG in reasons[-2]
    assert all(frame.why_not is None for frame in frames)


# ---- One word, as Python changes it


def change_of(vector: dict[str, Any], frame: dict[str, Any]) -> dict[str, Any]:
    if vector["operation"] == "remove":
        return {"isGone": True}
    if vector["operation"] == "set":
        return {"weight": vector["value"]}
    return {"weight": rounded(frame["weight"] + vector["value"])}


def state_of(vector: dict[str, Any], frame: dict[str, Any]) -> State | None:
    """None where the vector's words have several weights, or the weight is none: no state of one word says so."""
    if vector["operation"] == "change" and frame["weight"] is None and frame["why_not"] is None:
        return None
    change = change_of(vector, {**frame, "weight": frame["weight"] or 1.0})
    if abs(change.get("weight", 0)) > 1000:
        return None
    is_as_it_is = frame["weight"] is not None and abs(change.get("weight", math.inf) - frame["weight"]) < 1e-6
    return {} if is_as_it_is else {0: change}


@needs_node
def test_what_the_browser_writes_for_one_word_is_what_python_writes() -> None:
    """Of all vectors nothing is written otherwise; a few that Python writes are refused, with a sentence."""
    tally: Counter[tuple[str, str]] = Counter()
    asked, cases = [], []
    for vector in VECTORS["vectors"]:
        _, frames = framed(vector["prompt"], tuple(vector["span"]), negative=vector.get("negative", False))
        state = state_of(vector, frames["words"][0])
        if state is None:
            tally[vector["operation"], "no state"] += 1
            continue
        asked.append(vector)
        cases.append((vector["prompt"], frames, state))
    for vector, found in zip(asked, render(cases), strict=True):
        wanted = vector["result"]
        if "error" in found:
            tally[vector["operation"], "refused by both" if "error" in wanted else "refused"] += 1
            assert found["error"]
            continue
        assert found["prompt"] == wanted.get("prompt"), (vector, found)
        tally[vector["operation"], "the same"] += 1
    agreed = {name: sum(tally[name, kind] for kind in ("the same", "refused by both")) for name in ("set", "change")}
    assert sum(agreed.values()) >= 280, (tally, "of 291 edits of a weight")
    assert tally["remove", "the same"] + tally["remove", "refused by both"] >= 140, (tally, "of 144 removals")
    assert tally["set", "refused"] == 0, tally


# ---- Several words

TOGETHER = [
    ("a, cat, b", {",#2": 1.3, "cat": None}, "a, b"),
    ("(red cat:1.2), b", {"red": 1.3, "cat": None}, "(red:1.3), b"),
    ("a, cat, dog", {"cat": None, "dog": None}, "a"),
    ("cat, dog, b", {"cat": None, "dog": None}, "b"),
    ("a big red cat", {"big": 1.2, "red": 1.2, "cat": 0.8}, "a (big red:1.2) (cat:0.8)"),
    ("(cat:1.2)(dog)", {"cat": 1, "dog": 1.4}, "cat(dog:1.4)"),
    ("a:1.2 big cat", {"big": None, "cat": None}, None),
    ("<lora big cat:1> a", {"big": None, "cat": None}, None),
    ("(a: 1.3 big cat) b", {"big": None, "cat": None}, None),
    ("x (sun)<lora:x:1>,!AND b", {"sun": 1, ",!": None}, None),
    ("(red:1.1)(cat:1.2)", {"red": 1.2}, None),
    ("(red:1.1)(cat:1.2)", {"red": 1.3, "cat": 1.3}, None),
    ("(red:1.1)(a:1.3)(cat:1.2)", {"red": 1.2, "a": None}, None),
    ("(cat:1.3)[(sun:1.4)s|b]", {"cat": 0, "s": 0, "sun": None}, None),
]


@needs_node
@pytest.mark.parametrize(("prompt", "changes", "expected"), TOGETHER)
def test_changes_of_several_words_make_one_text_or_none(
    prompt: str, changes: dict[str, float | None], expected: str | None
) -> None:
    spans = words_of(table(prompt))
    texts = [prompt[slice(*span)] for span in spans]
    state: State = {}
    for name, weight in changes.items():
        text, _, number = name.partition("#")
        found = [at for at, each in enumerate(texts) if each == text]
        state[found[int(number or 1) - 1]] = {"isGone": True} if weight is None else {"weight": weight}
    (answer,) = render([(prompt, edit_frames(prompt, spans).to_data(), state)])
    assert answer.get("prompt") == expected, answer
    if expected is not None:
        check(prompt, state, spans, expected)


# ---- Any state


CHANGES = st.one_of(
    st.sampled_from([0.0, 0.6, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5]).map(lambda weight: {"weight": weight}),
    st.just({"isGone": True}),
)
TIDY = st.lists(
    st.sampled_from(
        ["a", "cat", "red", "(red cat:1.3)", "((sun))", "[dog]", "(a, big:1.3)", r"\(x\)", "猫", "[a|b]",
         "[cat:dog:0.5]", "<lora:x:1>", "BREAK", "it's", "(a (big red:1.2) cat:0.8)"]
    ), min_size=1, max_size=7,
).flatmap(lambda pieces: st.sampled_from([", ", " "]).map(lambda sign: sign.join(pieces)))  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, dict[str, Any], State, list[Span]] | None:
    prompt = draw(st.one_of(PROMPTS, TIDY))
    try:
        spans = words_of(table(prompt))
    except PromptError:
        return None
    if not spans:
        return None
    frames = edit_frames(prompt, spans).to_data()
    first = draw(st.integers(0, len(spans) - 1))
    neighbours = list(range(first, min(first + draw(st.integers(1, 6)), len(spans))))
    anywhere = st.lists(st.integers(0, len(spans) - 1), min_size=1, max_size=6, unique=True)
    chosen = draw(st.one_of(st.just(neighbours), anywhere))
    change = draw(CHANGES)
    state = {word: change if draw(st.booleans()) else draw(CHANGES) for word in chosen}
    for word, each in list(state.items()):
        if "weight" in each and abs(each["weight"] - (frames["words"][word]["weight"] or 0)) < 1e-6:
            del state[word]
    return prompt, frames, state, spans


def check(prompt: str, state: State, spans: list[Span], new: str) -> None:
    """By the real reading, at each step: words that are gone are gone, and commas at most; the rest as it was asked."""
    before, after = table(prompt), table(new)
    assert [part.weight for part in before.parts] == [part.weight for part in after.parts], new
    assert [tag.text for tag in before.tags] == [tag.text for tag in after.tags], new
    has_gone = any(change.get("isGone") for change in state.values())
    for part, new_part in zip(before.parts, after.parts):
        for step in range(1, STEPS + 1):
            wanted = [(column, *change_at(column, state, spans)) for column in columns_at(part, step)]
            found = iter(columns_at(new_part, step))
            following = next(found, None)
            for column, target, is_gone in wanted:
                if is_gone:
                    continue
                if following is not None and column.token == following.token and fits(column, target, following):
                    following = next(found, None)
                else:
                    assert has_gone and column.piece == COMMA, (prompt, state, new, column, following)
            assert following is None, (prompt, state, new, following)


def change_at(column: TokenColumn, state: State, spans: list[Span]) -> tuple[float | None, bool]:
    assert column.span is not None
    if column.piece == "BREAK":
        return None, False
    for word, change in state.items():
        if spans[word][0] <= column.span[0] < spans[word][1]:
            return change.get("weight"), bool(change.get("isGone"))
    return None, False


def fits(column: TokenColumn, target: float | None, found: TokenColumn) -> bool:
    if target is None:
        return math.isclose(found.weight, column.weight, rel_tol=1e-6, abs_tol=1e-9)
    return abs(found.weight - target) < 0.005


def columns_at(part: Any, step: int) -> list[TokenColumn]:
    entry = next(entry for entry in part.schedule if entry.first_step <= step <= entry.end_at_step)
    return [column for column in entry.columns if column.kind == "text"]


@needs_node
@settings(max_examples=12, deadline=None)
@given(st.lists(cases(), min_size=30, max_size=40))
def test_whatever_is_written_reads_as_it_was_asked(
    drawn: list[tuple[str, dict[str, Any], State, list[Span]] | None],
) -> None:
    kept = [case for case in drawn if case is not None]
    for (prompt, _, state, spans), found in zip(kept, render([case[:3] for case in kept]), strict=True):
        if "error" not in found:
            check(prompt, state, spans, found["prompt"])
