"""Edits of a text, and where each of its characters ends up. Knows nothing of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from daam.prompt.table import Span


class Edit(NamedTuple):
    """Put `text` in place of the characters [start, end)."""

    start: int
    end: int
    text: str = ""


class Rewritten(NamedTuple):
    """A prompt after a change, and the [start, end) of the changed words in it; empty where they were removed."""

    prompt: str
    span: Span


def apply_edits(text: str, edits: Iterable[Edit]) -> tuple[str, list[int | None]]:
    """The edited text, and for each old character its new index, or None where it was removed.

    Edits may touch each other but not overlap; insertions at one place keep their order.
    """
    pieces: list[str] = []
    places: list[int | None] = []
    length = 0
    for edit in [*sorted(edits, key=lambda edit: edit[:2]), Edit(len(text), len(text))]:
        kept = text[len(places) : edit.start]
        places.extend(range(length, length + len(kept)))
        places.extend([None] * (edit.end - edit.start))
        pieces += [kept, edit.text]
        length += len(kept) + len(edit.text)
    return "".join(pieces), places


def moved_span(positions: Sequence[int], places: Sequence[int | None]) -> Span:
    """The [start, end) that old characters have in the new text; at least one of them is still there."""
    moved = [place for place in (places[position] for position in positions) if place is not None]
    return min(moved), max(moved) + 1
