"""Which step of the sampling a model call belongs to, and which texts it looks at first. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from daam.tracing.conditioning import Conditioned, assign
from daam.tracing.plan import Side


class Steps:
    """Goes through the calls of one generation.

    Loops hand calls of one step the same number of the timestep, where they have one call for both sides or look again
    (SAG). Where each side has a call of its own the numbers may be copies; a step ends when a text comes again.

    Attributes:
        number: of the step, from 0; -1 before the first call.
    """

    def __init__(self) -> None:
        self.number = -1
        self._timestep: Any = None
        self._looked: set[tuple[int, Side]] = set()
        self._last: tuple[Sequence[Sequence[Conditioned]], int, list[Conditioned | None]] | None = None

    def texts(
        self, timestep: Any, candidates: Sequence[Sequence[Conditioned]], images: int, entry: int
    ) -> tuple[list[Conditioned | None], bool]:
        """The texts of the rows of one call.

        Args:
            candidates, images, entry: as for `assign`.

        Returns:
            The text of each row, None for one that is of none or was looked at before at this step; and whether one
            was.
        """
        is_next = not _are_one(timestep, self._timestep)
        self._timestep = timestep
        if is_next and self._last is not None and self._last[0] is candidates and self._last[1] == images:
            self.number += 1  # as in the call before, which was all of its step: so it is in most samplings
            return self._last[2], False
        if is_next and self._is_new_step(candidates):
            self.number, self._looked = self.number + 1, set()
        is_first = not self._looked
        every = assign(candidates, images, entry)
        found = every if is_first else assign(candidates, images, entry, self._looked)
        self._looked |= {(text.image, text.side) for text in found if text is not None}
        is_of_any_entry = all(len({text.entry for text in texts}) < 2 for texts in candidates)
        self._last = (candidates, images, found) if is_first and any(found) and is_of_any_entry else None
        return found, sum(text is not None for text in found) < sum(text is not None for text in every)

    def _is_new_step(self, candidates: Sequence[Sequence[Conditioned]]) -> bool:
        """Whether a row can only be of texts that were looked at."""
        return self.number < 0 or any(
            texts and all((text.image, text.side) in self._looked for text in texts) for texts in candidates
        )


def _are_one(first: Any, second: Any) -> bool:
    """Whether they are the very number, not an equal one: second-order samplers have equal ones behind each other."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first is second or (first.data_ptr() == second.data_ptr() != 0 and first.dtype is second.dtype)
    return first is not None and first is second
