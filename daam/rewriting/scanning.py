"""Cuts text into letters and pairs of emphasis brackets, with their places. Knows no schedule and no tree."""

from __future__ import annotations

from dataclasses import dataclass

from daam.prompt.emphasis import _BREAK, _PIECE, ROUND_WEIGHT, SQUARE_WEIGHT, _read_number
from daam.prompt.limits import MAX_EMPHASIS_WORK, check_limit
from daam.prompt.source_text import SourceText


@dataclass
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


@dataclass
class Pair:
    """Emphasis brackets in the making; numbers of leaves say what they enclose."""

    start: int
    first_leaf: int
    factor: float
    close: int | None = None
    end: int = 0
    end_leaf: int = 0


class Scan:
    """Cuts a text into leaves and pairs of brackets, as the emphasis of the host does."""

    def __init__(self, text: SourceText) -> None:
        self.text = text
        self.leaves: list[Leaf] = []
        self.pairs: list[Pair] = []
        self._open: dict[str, list[Pair]] = {"(": [], "[": []}
        self._backslash: int | None = None
        for match in _PIECE.finditer(text.text):
            typed = match.group()
            if match["escape"]:
                self._take_backslash(match.start(), typed)
            elif match["open"]:
                self._take_open(match.start(), typed)
            elif match["weight"] and self._open["("]:
                self._close("(", match.start(), match.end(), _read_number(match["weight"], typed))
            elif typed == ")" and self._open["("]:
                self._close("(", match.start(), match.end())
            elif typed == "]" and self._open["["]:
                self._close("[", match.start(), match.end())
            else:
                self._take_text(match.start(), typed)

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

    def _take_backslash(self, start: int, typed: str) -> None:
        """A backslash belongs to what follows it, whether it has a meaning there or not."""
        self._backslash = self.text.origin[start]
        if len(typed) > 1:
            self._add(start + 1, start + 2)

    def _take_open(self, start: int, typed: str) -> None:
        factor = ROUND_WEIGHT if typed == "(" else SQUARE_WEIGHT
        pair = Pair(self.text.origin[start], len(self.leaves), factor)
        self.pairs.append(pair)
        self._open[typed].append(pair)

    def _close(self, bracket: str, start: int, end: int, factor: float | None = None) -> None:
        pair = self._open[bracket].pop()
        pair.close, pair.end = self._start(start), self.text.origin[end - 1] + 1
        pair.end_leaf = len(self.leaves)
        pair.factor = pair.factor if factor is None else factor

    def _take_text(self, start: int, typed: str) -> None:
        position = 0
        for match in _BREAK.finditer(typed):
            for index in range(position, match.start()):
                self._add(start + index, start + index + 1)
            self._add(start + match.start(), start + match.end())
            position = match.end()
        for index in range(position, len(typed)):
            self._add(start + index, start + index + 1)

    def _add(self, start: int, end: int) -> None:
        typed_start = self._start(start)
        self.leaves.append(Leaf(typed_start, self.text.origin[end - 1] + 1, self.text.text[start:end]))

    def _start(self, start: int) -> int:
        typed = self.text.origin[start] if self._backslash is None else self._backslash
        self._backslash = None
        return typed
