"""What the walk over emphasis finds, as letters and pairs of brackets with their places. Knows no schedule, no tree."""

from __future__ import annotations

from dataclasses import dataclass

from daam.prompt.emphasis import FACTORS, Mark, walk_emphasis
from daam.prompt.limits import MAX_EMPHASIS_WORK, check_limit
from daam.prompt.source_text import SourceText


@dataclass(slots=True)
class Leaf:
    """One letter of the prompt's text, with the backslash before it, or a whole BREAK.

    Attributes:
        start, end: where it was typed.
        flat: product of the brackets around it that are no node of the tree: unclosed or crossing ones.
    """

    start: int
    end: int
    text: str
    flat: float = 1.0

    @property
    def is_break(self) -> bool:
        """A BREAK; within brackets it is a word, but its weight is nobody's business."""
        return self.text == "BREAK"

    @property
    def is_blank(self) -> bool:
        return self.text.isspace()

    @property
    def position(self) -> int:
        """Index of the letter itself."""
        return self.end - 1


@dataclass(slots=True)
class Pair:
    """Emphasis brackets in the making; numbers of leaves say what they enclose."""

    start: int
    first_leaf: int
    factor: float
    close: int | None = None
    end: int = 0
    end_leaf: int = 0


class Scan:
    """The leaves and the pairs of brackets of a text."""

    def __init__(self, text: SourceText) -> None:
        self.text = text
        self.leaves: list[Leaf] = []
        self.pairs: list[Pair] = []
        self._open: dict[str, list[Pair]] = {"(": [], "[": []}
        self._backslash: int | None = None
        for mark in walk_emphasis(text.text):
            self._take(mark)

    def crossing(self) -> set[int]:
        """The ids of closed pairs that overlap without nesting, such as both of `([a)]`."""
        events = [(pair.start, pair) for pair in self.pairs if pair.close is not None]
        events += [(pair.close, pair) for pair in self.pairs if pair.close is not None]
        crossing: set[int] = set()
        waiting: list[Pair] = []
        work = 0
        for place, pair in sorted(events, key=lambda event: event[0]):
            if place == pair.start:
                waiting.append(pair)
            else:
                index = next(index for index in range(len(waiting) - 1, -1, -1) if waiting[index] is pair)
                above = waiting[index:]
                work += len(above)
                check_limit(work, MAX_EMPHASIS_WORK, "brackets that cross each other")
                crossing.update(id(other) for other in above if len(above) > 1)
                del waiting[index]
        return crossing

    def _take(self, mark: Mark) -> None:
        if mark.kind == "open":
            pair = Pair(self.text.origin[mark.start], len(self.leaves), FACTORS[mark.bracket])
            self.pairs.append(pair)
            self._open[mark.bracket].append(pair)
        elif mark.kind == "close":
            pair = self._open[mark.bracket].pop()
            pair.close, pair.end = self._start(mark.start), self.text.origin[mark.end - 1] + 1
            pair.end_leaf, pair.factor = len(self.leaves), mark.factor
        elif mark.kind == "break":
            self._add(mark.start, mark.end)
        elif mark.kind == "escape":
            self._backslash = self.text.origin[mark.start]  # it belongs to what follows, with a meaning or without
        if mark.kind in ("text", "escape"):
            for place in range(mark.start + (mark.kind == "escape"), mark.end):
                self._add(place, place + 1)

    def _add(self, start: int, end: int) -> None:
        typed_start = self._start(start)
        self.leaves.append(Leaf(typed_start, self.text.origin[end - 1] + 1, self.text.text[start:end]))

    def _start(self, start: int) -> int:
        typed = self.text.origin[start] if self._backslash is None else self._backslash
        self._backslash = None
        return typed
