"""Chooses a part of a trace: layers, resolutions, heads, steps. Knows no word."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from daam.errors import NotKeptError, SettingError
from daam.maps.readings import READINGS, check_reading, reading_of
from daam.tracing.image_trace import ImageTrace
from daam.tracing.text_maps import TextMaps

Size = tuple[int, int]


@dataclass(frozen=True)
class Selection:
    """Which part of the trace a heat map is made from; None stands for all.

    Attributes:
        layers: patterns of layer names with * and ?, such as "up_blocks.*".
        resolutions: (height, width) of the layers' maps.
        heads: numbers of heads in each layer, from 0; needs keep="heads".
        steps: first and last model call, from 0, inclusive; needs keep="steps".
        reading: how the sums become maps, a name of `daam.maps.readings.READINGS`.
    """

    layers: tuple[str, ...] | None = None
    resolutions: tuple[Size, ...] | None = None
    heads: tuple[int, ...] | None = None
    steps: tuple[int, int] | None = None
    reading: str = "plain"

    def narrowed(
        self,
        layers: str | Sequence[str] | None,
        resolutions: Sequence[Size] | None,
        heads: Sequence[int] | None,
        steps: tuple[int, int] | None,
        reading: str | None = None,
    ) -> Selection:
        """This selection with the given axes replaced."""
        patterns = (layers,) if isinstance(layers, str) else layers
        return replace(
            self,
            layers=self.layers if patterns is None else tuple(patterns),
            resolutions=self.resolutions if resolutions is None else tuple(resolutions),
            heads=self.heads if heads is None else tuple(heads),
            steps=self.steps if steps is None else steps,
            reading=self.reading if reading is None else reading,
        )

    @property
    def is_part(self) -> bool:
        """Whether not everything is taken."""
        return any(axis is not None for axis in (self.layers, self.resolutions, self.heads, self.steps))

    def check(self, trace: ImageTrace, heads: int) -> None:
        """
        Args:
            heads: of the layer that has the most.

        Raises:
            NotKeptError: an axis is chosen from that the trace did not keep, or a reading that needs what it has not.
            SettingError: no such head or step was traced, or there is no such reading.
        """
        kept_axes, calls = trace.keep, trace.calls
        is_part = self.uses_details if reading_of(self.reading).takes_layers else self.is_part
        check_reading(self.reading, trace, is_part=is_part)
        for axis, wanted in (("heads", self.heads), ("steps", self.steps)):
            if wanted is not None and axis not in kept_axes:
                raise NotKeptError(f'{axis} were not kept: trace with `daam.trace(pipe, keep="{axis}")`')
        if self.heads is not None and (not self.heads or not set(self.heads) <= set(range(heads))):
            raise SettingError(f"heads: expected numbers of 0..{heads - 1}, got {list(self.heads)}")
        if self.steps is not None and not 0 <= self.steps[0] <= self.steps[1] < calls:
            raise SettingError(f"steps: expected first and last of 0..{calls - 1}, got {self.steps}")

    @property
    def uses_details(self) -> bool:
        """Whether it needs maps of single heads or steps."""
        return self.heads is not None or self.steps is not None

    def columns(self, text: TextMaps) -> tuple[int, ...]:
        """The columns that the selected maps stand for, in their order."""
        return text.text.detail_columns if self.uses_details else text.text.columns

    def layer_maps(self, text: TextMaps) -> dict[str, Tensor]:
        """The selected layers' maps [column, height, width], summed over the selected heads and steps, and so read."""
        if self.uses_details:
            maps = {name: self._sum_details(kept) for name, kept in text.details.items() if self._takes(name)}
        else:
            maps = {name: kept for name, kept in text.sums.items() if self._takes(name)}
        chosen = {name: kept for name, kept in maps.items() if self._takes_size((kept.shape[-2], kept.shape[-1]))}
        return READINGS[self.reading].read(text, chosen)

    def _takes(self, layer: str) -> bool:
        return self.layers is None or any(fnmatch.fnmatchcase(layer, pattern) for pattern in self.layers)

    def _takes_size(self, size: Size) -> bool:
        return self.resolutions is None or size in self.resolutions

    def _sum_details(self, kept: Mapping[int, Tensor]) -> Tensor:
        """Details [head, column, height, width] of each step to [column, height, width]."""
        chosen = list(kept.values())
        if self.steps is not None:
            first, last = self.steps
            chosen = [maps for step, maps in kept.items() if first <= step <= last]
        if not chosen:
            return torch.zeros_like(next(iter(kept.values()))[0])
        total = torch.stack(chosen).sum(dim=0)
        heads = range(len(total)) if self.heads is None else [head for head in self.heads if head < len(total)]
        return total[list(heads)].sum(dim=0)
