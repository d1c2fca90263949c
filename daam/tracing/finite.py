"""Finds the first layer and model call whose maps were not finite. Knows no model.

A number that is not finite spreads: what follows in the call, and every later call, has it too. So the sums cannot tell
where it began, and each call is looked at, on the device; the answer is asked for at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from daam.tracing.block import Block, Legend
from daam.tracing.on_device import on_device

_NEVER = 2**31 - 1
_CALLS_KEPT = 64
"""After so many calls what was seen is reduced to the first of them that was not finite."""


class FiniteBook:
    """For each map the number of the first call in which it was not finite; no larger with more steps."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Legend, tuple[str, ...]], _Seen] = {}
        self._order: dict[str, int] = {}

    def see(self, block: Block, order: Sequence[str], call: int) -> None:
        """Looks at what one call gave, without waiting for the answer.

        Args:
            order: in which the call's layers ran.
        """
        if block.is_finite:
            return
        seen = self._seen.get((block.legend, block.layers))
        if seen is None:
            seen = self._seen[block.legend, block.layers] = _Seen()
            self._order.update({layer: place for place, layer in enumerate(order) if layer not in self._order})
        seen.add(block.sums.amax(dim=(-2, -1)), call)

    def first_fault(self, image: int) -> tuple[int, str] | None:
        """(call, layer) where a picture's maps were not finite first; None where they always were."""
        faults = [
            (int(call), self._order[layer], layer)
            for (legend, layers), seen in self._seen.items()
            for layer, calls in zip(layers, seen.first().tolist())
            for call in (calls[share.row] for share in legend.shares if share.text.key.image == image)
            if call != _NEVER
        ]
        if not faults:
            return None
        call, _, layer = min(faults)
        return call, layer


class _Seen:
    """The highest number of each layer and row in each call: NaN where there is one."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._calls: list[int] = []
        self._highest: list[Tensor] = []

    def add(self, highest: Tensor, call: int) -> None:
        self._calls.append(call)
        self._highest.append(highest)
        if len(self._calls) == _CALLS_KEPT:
            self.first()

    @torch.no_grad()
    def first(self) -> Tensor:
        """[layer, row], int32: the first call that was not finite."""
        if self._calls:
            highest = torch.stack(self._highest)
            calls = on_device(self._calls, highest.device, torch.int32)[:, None, None]
            first = torch.where(highest.isfinite(), _NEVER, calls).amin(dim=0)
            self._first = first if self._first is None else torch.minimum(self._first, first)
            self._calls, self._highest = [], []
        assert self._first is not None
        return self._first
