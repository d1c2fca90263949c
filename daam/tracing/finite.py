"""Finds the first layer and model call whose maps were not finite. Knows no model.

A number that is not finite spreads: what follows in the call, and every later call, has it too. So the sums cannot tell
where it began, and each call is looked at: all layers at once, on the device, and the answer is asked for at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_NEVER = 2**31 - 1
Layout = tuple[tuple[int, str], ...]
"""Image and layer of each map of a call, in the order of the model."""


class FiniteBook:
    """For each map of a call the number of the first call in which it was not finite; no larger with more steps."""

    def __init__(self) -> None:
        self._first: dict[Layout, Tensor] = {}

    @torch.no_grad()
    def see(self, layout: Layout, maps: Sequence[Tensor], call: int) -> None:
        """Looks at everything that one call gave, without waiting for the answer.

        Args:
            maps: of any shape, one for each of the layout.
        """
        if not layout:
            return
        norms = torch._foreach_norm(list(maps))
        is_finite = torch.stack([norm.to(norms[0].device) for norm in norms]).isfinite()
        first = self._first.get(layout)
        if first is None:
            first = torch.full_like(is_finite, _NEVER, dtype=torch.int32)
        self._first[layout] = torch.where(is_finite, first, first.clamp(max=call))

    def first_fault(self, image: int) -> tuple[int, str] | None:
        """(call, layer) where a picture's maps were not finite first; None where they always were."""
        faults = [
            (call, place, layer)
            for layout, first in self._first.items()
            for place, ((number, layer), call) in enumerate(zip(layout, first.tolist()))
            if number == image and call != _NEVER
        ]
        if not faults:
            return None
        call, _, layer = min(faults)
        return call, layer
