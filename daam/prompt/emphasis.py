"""Reads emphasis (x), [x], (x:1.3), escapes and BREAK into runs of text with a weight. Knows no tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from daam.errors import PromptError
from daam.prompt.limits import MAX_EMPHASIS_WORK, check_limit
from daam.prompt.source_text import SourceText

ROUND_WEIGHT = 1.1
SQUARE_WEIGHT = 1 / 1.1
BREAK_WEIGHT = -1.0

_PIECE = re.compile(
    r"(?P<escape>\\[\\()\[\]]?)"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?[.\d]+)\s*\)"
    r"|(?P<close>[)\]])"
    r"|[^\\()\[\]:]+|:"
)
_BREAK = re.compile(r"\bBREAK\b")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class Run:
    """Neighbouring text of one weight."""

    text: SourceText
    weight: float

    @property
    def is_break(self) -> bool:
        """A BREAK that starts a new chunk; within brackets its weight changes and it is a word."""
        return self.text.text == "BREAK" and self.weight == BREAK_WEIGHT


def read_emphasis(text: SourceText) -> list[Run]:
    """The runs of one text in order; at least one, which may be empty.

    Raises:
        PromptError: a weight such as (cat:..) is no number, or the brackets ask for too much work.
    """
    return _Reader(text).read()


class _Reader:
    """The state of one reading: pieces with their weights, and the brackets that are still open."""

    def __init__(self, text: SourceText) -> None:
        self.text = text
        self.pieces: list[SourceText] = []
        self.weights: list[float] = []
        self.open: dict[str, list[int]] = {"(": [], "[": []}
        self.work = 0

    def read(self) -> list[Run]:
        for match in _PIECE.finditer(self.text.text):
            self._take(match)
        for bracket, weight in (("(", ROUND_WEIGHT), ("[", SQUARE_WEIGHT)):
            for start in self.open[bracket]:
                self._multiply(start, weight)
        return self._merged()

    def _take(self, match: re.Match[str]) -> None:
        typed = match.group()
        if match["escape"]:
            self._add(match.start() + 1, match.end())
        elif match["open"]:
            self.open[typed].append(len(self.pieces))
        elif match["weight"] and self.open["("]:
            self._multiply(self.open["("].pop(), _read_number(match["weight"], typed))
        elif typed == ")" and self.open["("]:
            self._multiply(self.open["("].pop(), ROUND_WEIGHT)
        elif typed == "]" and self.open["["]:
            self._multiply(self.open["["].pop(), SQUARE_WEIGHT)
        else:
            self._add_with_breaks(match.start(), match.end())

    def _add(self, start: int, end: int, weight: float = 1.0) -> None:
        self.pieces.append(self.text.slice(start, end))
        self.weights.append(weight)

    def _add_with_breaks(self, start: int, end: int) -> None:
        """Add text without brackets; the blanks around each BREAK are dropped."""
        # \b must see the piece's own ends, not what is typed beyond them.
        piece = self.text.text[start:end]
        position = 0
        for match in _BREAK.finditer(piece):
            before = piece[position : match.start()].rstrip()
            self._add(start + position, start + position + len(before))
            self._add(start + match.start(), start + match.end(), BREAK_WEIGHT)
            blanks = _BLANKS.match(piece, match.end())
            position = blanks.end() if blanks else match.end()
        self._add(start + position, end)

    def _multiply(self, start: int, factor: float) -> None:
        self.work += len(self.weights) - start
        check_limit(self.work, MAX_EMPHASIS_WORK, "weights to multiply for its brackets")
        for index in range(start, len(self.weights)):
            self.weights[index] *= factor

    def _merged(self) -> list[Run]:
        """Neighbours of equal weight become one run, whatever bracket or escape stood between them."""
        groups: list[tuple[float, list[SourceText]]] = []
        for piece, weight in zip(self.pieces, self.weights):
            if groups and groups[-1][0] == weight:
                groups[-1][1].append(piece)
            else:
                groups.append((weight, [piece]))
        runs = [Run(SourceText.join(pieces), weight) for weight, pieces in groups]
        return runs or [Run(self.text.slice(0, 0), 1.0)]


def _read_number(number: str, typed: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise PromptError(
            f"the weight in {typed!r} is no number: got {number!r}, expected one such as 1.2; "
            r"write \( and \) for brackets that are text"
        ) from None
