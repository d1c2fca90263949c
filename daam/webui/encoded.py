"""Compares the token tables of a pass with what the WebUI really encoded: an extension may read prompts in its own way.

Which schedule entry of ours each of the WebUI's is, is told by its contents where somebody else read the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from daam.errors import TraceError
from daam.prompt.table import PromptPart, PromptTable, ScheduleEntry, active_entry
from daam.prompt.typed_words import word_columns
from daam.tracing.plan import Side
from daam.webui.hosts import Encoded, EncodedEntry
from daam.webui.prompts import PassTables

TOLERANCE = 0.02
"""A column is of another text when it differs by more than this share of its length; half precision makes 0.001."""
Place = tuple[Side, int, int]
"""Side, number of the picture, number of the AND part."""


@dataclass(frozen=True)
class Readers:
    """Attributes: names: of the extensions that read prompts in the WebUI's place; encode: a text to [column, channel],
    by the WebUI's own rules; None where it cannot be asked now."""

    names: Sequence[str]
    encode: Callable[[str], Tensor] | None


class EntriesInUse:
    """Tells which schedule entry of a table conditions a step.

    Where only the WebUI's own code read the prompts, it is the one that its rules say.
    """

    def __init__(self, tables: PassTables, encoded: Encoded, readers: Readers, *, with_negative: bool):
        """
        Raises:
            TraceError: what was encoded is not in the tables.
        """
        self._encoded: dict[Place, Sequence[EncodedEntry]] = {}
        self._numbers: dict[Place, list[int]] = {}
        for place, part, entries in _places(tables, encoded, readers, with_negative):
            if readers.names and any(map(word_columns, part.schedule)):
                self._encoded[place], self._numbers[place] = entries, _same_entries(part, entries, readers)

    def number(self, side: Side, image: int, part_number: int, part: PromptPart, step: int) -> int:
        """Number of the entry of `part` that conditions the row in this step, counted from 0."""
        place = (side, image, part_number)
        if place not in self._encoded:
            return active_entry(part, step)
        ends = [entry.end_at_step for entry in self._encoded[place]]
        return self._numbers[place][next((number for number, end in enumerate(ends) if step <= end), 0)]


def _places(
    tables: PassTables, encoded: Encoded, readers: Readers, with_negative: bool
) -> Iterator[tuple[Place, PromptPart, Sequence[EncodedEntry]]]:
    sides: list[tuple[Side, Sequence[PromptTable], Sequence[Sequence[Sequence[EncodedEntry]]]]]
    sides = [("positive", tables.positive, encoded.positive)]
    if with_negative:
        sides.append(("negative", tables.negative, encoded.negative))
    for side, ours, theirs in sides:
        for image, (table, parts) in enumerate(zip(ours, theirs)):
            if len(table.parts) != len(parts):
                raise TraceError(
                    f"the WebUI encoded the prompt in {len(parts)} parts, by its own rules it has {len(table.parts)}: "
                    f"{_who(readers)}, and whose words stand in which part is not known here"
                )
            for number, (part, entries) in enumerate(zip(table.parts, parts)):
                yield (side, image, number), part, entries


def _who(readers: Readers) -> str:
    names = " or ".join(readers.names)
    return f"{names} reads prompts in its own way" if names else "another extension changed it on the way"


def _same_entries(part: PromptPart, entries: Sequence[EncodedEntry], readers: Readers) -> list[int]:
    """For each entry that was encoded the number of ours with the same contents."""
    if readers.encode is None:
        raise TraceError(f"{_who(readers)}, and on this WebUI what it made of the prompt cannot be looked at")
    contexts = [readers.encode(entry.text) for entry in part.schedule]
    found = []
    for entry in entries:
        by_rule = active_entry(part, entry.end_at_step)
        order = sorted(range(len(contexts)), key=lambda number: number != by_rule)
        same = next((number for number in order if _first_difference(contexts[number], entry.context) is None), None)
        if same is None:
            raise TraceError(_difference(part.schedule[by_rule], contexts[by_rule], entry, readers))
        found.append(same)
    return found


def _first_difference(ours: Tensor, theirs: Tensor) -> int | None:
    """The first column of another text; columns that only one of them has are padding of the batch.

    A column that is only longer or shorter has another weight, but is the same word's.
    """
    columns = min(len(ours), len(theirs))
    first, second = ours[:columns].float().cpu(), theirs[:columns].float().cpu()
    along = (first * second).sum(dim=1) / (first * first).sum(dim=1).clamp(min=1e-12)
    rest = (second - along[:, None] * first).norm(dim=1)
    differs = rest > TOLERANCE * second.norm(dim=1)
    return int(differs.nonzero()[0]) if bool(differs.any()) else None


def _difference(entry: ScheduleEntry, ours: Tensor, theirs: EncodedEntry, readers: Readers) -> str:
    column = _first_difference(ours, theirs.context) or 0
    pieces = [each.piece for each in entry.columns if each.column >= column and each.span is not None]
    where = f"from {pieces[0]!r} on" if pieces else "behind its last word"
    return (
        f"{_who(readers)}: {where}, what was encoded is not the prompt as the WebUI reads it, so that no column can be "
        "given to a word"
    )
