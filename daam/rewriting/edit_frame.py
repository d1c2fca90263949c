"""What a word of a prompt needs to be edited without reading the prompt again, as plain data. Knows no prompt.

Places and spans are [start, end) of the typed prompt, in characters (Unicode code points).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from daam.prompt.table import Span
from daam.rewriting.groups import Group
from daam.rewriting.rewritten import Edit


@dataclass(frozen=True)
class Place:
    """Where "(" and ":1.1)" go: [start, end) with what is stripped in it.

    Attributes:
        outer: product of the brackets that stay around it.
        strip: [start, end) of the brackets' characters that go.
        container: number of the brackets or the branch that it stands in.
    """

    start: int
    end: int
    outer: float
    strip: tuple[Span, ...]
    container: int


@dataclass(frozen=True)
class EditFrame:
    """How one word, or all words of one pair of brackets, can be edited.

    Attributes:
        words: their numbers among the spans that were asked for.
        span: [start, end) of them.
        weight: what they weigh now, all brackets counted; None where they differ.
        is_named: it has a letter, a digit or a picture, and is no mere sign.
        places: what gets brackets when the weight changes; several where it stands in several branches.
        keeps_ones: it keeps a bracket where its number would be 1, since it would run into its neighbours.
        why_not: why the weight cannot be changed, for people; None where it can.
        remove: [start, end) that goes with the word, and the text in its place.
        core: the part of `remove` that is the word and its own brackets, without blanks and commas beside them.
        room: [start, end) up to which blanks and commas beside it may go too.
        container: number of what the core stands in.
        why_stays: why it cannot be removed, for people; None where it can.
    """

    words: tuple[int, ...]
    span: Span
    weight: float | None = None
    is_named: bool = True
    places: tuple[Place, ...] = ()
    keeps_ones: bool = False
    why_not: str | None = None
    remove: Edit | None = None
    core: Span | None = None
    room: Span | None = None
    container: int | None = None
    why_stays: str | None = None


@dataclass(frozen=True)
class EditFrames:
    """The frames of a prompt.

    Attributes:
        words: one for each span, in their order.
        brackets: for the words of a pair of brackets, or of a schedule, that has nothing else in it; larger ones first.
        glued: pairs of words without a blank between them, and whether they would become one word at one weight.
        tags: [start, end) of what the host takes out before it reads.
        is_literal: a stray "|" keeps all schedules from being read, which two changes together could end.
    """

    words: tuple[EditFrame, ...]
    brackets: tuple[EditFrame, ...] = ()
    glued: tuple[tuple[int, int, bool], ...] = ()
    tags: tuple[Span, ...] = ()
    is_literal: bool = False

    def to_data(self) -> dict[str, Any]:
        """JSON for the viewer; `asdict` would take a tenth of the time that the frames themselves take."""
        return {
            **vars(self),
            "words": [_plain(each) for each in self.words],
            "brackets": list(map(_plain, self.brackets)),
        }


def _plain(frame: EditFrame) -> dict[str, Any]:
    return {**vars(frame), "places": [dict(vars(place)) for place in frame.places]}


@dataclass
class Draft:
    """A frame in the making.

    Attributes:
        letters: the places of its letters.
        groups: what gets brackets, as elements of the prompt; `places` says the same as data.
        core: what goes when it is removed.
    """

    words: tuple[int, ...]
    span: Span
    letters: tuple[int, ...] = ()
    groups: list[Group] = field(default_factory=list)
    places: tuple[Place, ...] = ()
    weight: float | None = None
    is_named: bool = True
    keeps_ones: bool = False
    why_not: str | None = None
    remove: Edit | None = None
    core: Group | None = None
    why_stays: str | None = None
