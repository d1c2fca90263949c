"""Reads emphasis (x), [x], (x:1.3), escapes and BREAK into runs of text with a weight. Knows no tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from daam.errors import PromptError
from daam.prompt.limits import MAX_EMPHASIS_WORK, check_limit, check_weight
from daam.prompt.source_text import SourceText
from daam.prompt.table import Span

FACTORS = {"(": 1.1, "[": 1 / 1.1}
"""What brackets without a number give to their content, and those that are never closed to all that follows."""
BREAK_WEIGHT = -1.0

_PIECE = re.compile(
    r"(?P<escape>\\[\\()\[\]]?)"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?[.\d]+)\s*\)"
    r"|(?P<close>[)\]])"
    r"|(?:[^\\()\[\]:]|:(?!\s*[+-]?[.\d]+\s*\)))+"
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Run:
    """Neighbouring text of one weight."""

    text: SourceText
    weight: float

    @property
    def is_break(self) -> bool:
        """A BREAK that starts a new chunk; within brackets its weight changes and it is a word."""
        return self.text.text == "BREAK" and self.weight == BREAK_WEIGHT


class Mark(NamedTuple):
    """One step of the walk over a text: [start, end) of it, and what stands there.

    Attributes:
        kind: "text" and "break" stand for themselves; of an "escape" the backslash is no text; "open" and "close" are
            brackets with a partner, except that an "open" may still be waiting for it at the end.
        bracket: "(" or "[", of which an "open" or "close" is; "" otherwise.
        factor: the weight that a "close" gives to what it encloses.
    """

    kind: Literal["text", "break", "escape", "open", "close"]
    start: int
    end: int
    bracket: str = ""
    factor: float = 1.0


def walk_emphasis(text: str) -> Iterator[Mark]:
    """The brackets, escapes, BREAKs and texts of one text, in order: the only reading of this syntax.

    Raises:
        PromptError: a weight such as (cat:..) is no number.
    """
    waiting = {"(": 0, "[": 0}
    for match in _PIECE.finditer(text):
        typed, (start, end) = match.group(), match.span()
        bracket = "(" if match["weight"] or typed == ")" else "["
        if match["escape"]:
            yield Mark("escape", start, end)
        elif match["open"]:
            waiting[typed] += 1
            yield Mark("open", start, end, typed)
        elif (match["weight"] or match["close"]) and waiting[bracket]:
            waiting[bracket] -= 1
            factor = _read_number(match["weight"], typed) if match["weight"] else FACTORS[bracket]
            yield Mark("close", start, end, bracket, factor)
        else:
            yield from _with_breaks(typed, start)


def _with_breaks(piece: str, start: int) -> Iterator[Mark]:
    """Text without brackets, cut at each BREAK; there is a text, maybe empty, on both sides of one."""
    position = 0
    for match in _BREAK.finditer(piece):  # \b must see the piece's own ends, not what is typed beyond them
        yield Mark("text", start + position, start + match.start())
        yield Mark("break", start + match.start(), start + match.end())
        position = match.end()
    yield Mark("text", start + position, start + len(piece))


def read_emphasis(text: SourceText) -> list[Run]:
    """The runs of one text in order; at least one, which may be empty.

    Raises:
        PromptError: a weight such as (cat:..) is no number, or the brackets ask for too much work.
    """
    return _Runs(text).read()


class _Runs:
    """Places of text with their weights, and for each open bracket the number of the first piece in it."""

    def __init__(self, text: SourceText) -> None:
        self.text = text
        self.pieces: list[Span] = []
        self.weights: list[float] = []
        self.open: dict[str, list[int]] = {"(": [], "[": []}
        self.work = 0

    def read(self) -> list[Run]:
        marks = list(walk_emphasis(self.text.text))
        kinds = ["", *(mark.kind for mark in marks), ""]
        for mark, before, after in zip(marks, kinds, kinds[2:]):
            self._take(mark, is_after_break=before == "break", is_before_break=after == "break")
        for bracket, starts in self.open.items():
            for start in starts:
                self._multiply(start, FACTORS[bracket])
        check_weight(max(map(abs, self.weights), default=1.0))
        return self._merged()

    def _take(self, mark: Mark, *, is_after_break: bool, is_before_break: bool) -> None:
        if mark.kind == "open":
            self.open[mark.bracket].append(len(self.pieces))
        elif mark.kind == "close":
            self._multiply(self.open[mark.bracket].pop(), mark.factor)
        elif mark.kind == "escape":
            self._add(mark.start + 1, mark.end)
        elif mark.kind == "break":
            self._add(mark.start, mark.end, BREAK_WEIGHT)
        else:
            self._add(*self._trimmed(mark, is_after_break, is_before_break))

    def _trimmed(self, mark: Mark, left: bool, right: bool) -> Span:
        """The place of a text without the blanks that touch a BREAK."""
        typed = self.text.text[mark.start : mark.end]
        end = mark.start + len(typed.rstrip()) if right else mark.end
        start = mark.end - len(typed.lstrip()) if left else mark.start
        return min(start, end), end

    def _add(self, start: int, end: int, weight: float = 1.0) -> None:
        self.pieces.append((start, end))
        self.weights.append(weight)

    def _multiply(self, start: int, factor: float) -> None:
        self.work += len(self.weights) - start
        check_limit(self.work, MAX_EMPHASIS_WORK, "weights to multiply for its brackets")
        for index in range(start, len(self.weights)):
            self.weights[index] *= factor

    def _merged(self) -> list[Run]:
        """Neighbours of equal weight become one run, whatever bracket or escape stood between them."""
        groups: list[tuple[float, list[Span]]] = []
        for piece, weight in zip(self.pieces, self.weights):
            if not groups or groups[-1][0] != weight:
                groups.append((weight, [piece]))
            elif groups[-1][1][-1][1] == piece[0]:
                groups[-1][1][-1] = (groups[-1][1][-1][0], piece[1])
            else:
                groups[-1][1].append(piece)
        runs = [Run(SourceText.join(self.text.slice(*span) for span in spans), weight) for weight, spans in groups]
        return runs or [Run(self.text.slice(0, 0), 1.0)]


def _read_number(number: str, typed: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise PromptError(
            f"the weight in {typed!r} is no number: got {number!r}, expected one such as 1.2; "
            r"write \( and \) for brackets that are text"
        ) from None
