"""Frames of a prompt, and what the browser writes from them: the vectors of the rewriting, and any state at all."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daam.errors import PromptError
from daam.prompt import PromptTable, TokenColumn
from daam.prompt.terms import entry_words
from daam.rewriting.frames import TOO_LONG, edit_frames
from daam.rewriting.numbers import rounded
from tests.test_rewriting import HOSTILE, PROMPTS, STEPS, VECTORS, table

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
    return sorted({word.span for part in parsed.parts for entry in part.schedule for word in entry_words(entry)})


def framed(prompt: str, *first: Span, negative: bool = False) -> tuple[list[Span], dict[str, Any]]:
    """The frames of some spans, and of all words that share nothing with them."""
    try:
        words = words_of(table(prompt, negative))
    except PromptError:
        words = []
    rest = [word for word in words if all(word[1] <= start or end <= word[0] for start, end in first)]
    spans = [*first, *rest]
    return spans, edit_frames(prompt, spans, negative=negative).to_data()


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
    change = {"weight": 0.7} if frame["why_not"] else change_of(vector, frame)
    change = {"isGone": True} if vector["operation"] == "remove" else change
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


# ---- Any state


CHANGES = st.one_of(
    st.sampled_from([0.0, 0.6, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5]).map(lambda weight: {"weight": weight}),
    st.just({"isGone": True}),
)
TIDY = st.lists(
    st.sampled_from(
        ["a", "cat", "red", "(red cat:1.3)", "((sun))", "[dog]", "(a, big:1.3)", r"\(x\)", "猫", "[a|b]", "[cat:dog:0.5]",
         "<lora:x:1>", "BREAK", "it's", "(a (big red:1.2) cat:0.8)"]
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
    chosen = draw(st.lists(st.integers(0, len(spans) - 1), min_size=1, max_size=6, unique=True))
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
def test_whatever_is_written_reads_as_it_was_asked(drawn: list[tuple[str, dict[str, Any], State, list[Span]] | None]) -> None:
    kept = [case for case in drawn if case is not None]
    for (prompt, _, state, spans), found in zip(kept, render([case[:3] for case in kept]), strict=True):
        if "error" not in found:
            check(prompt, state, spans, found["prompt"])
