"""Adds up attention maps at each layer's own resolution, on the model's device. Knows no model and no host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from daam.errors import TraceError
from daam.tracing.finite import FiniteBook
from daam.tracing.plan import TextKey, TracedText

LayerMaps = dict[str, Tensor]
"""Layer name to maps [column, height, width], or with leading axes [step] and [head] where they were kept."""


EVERY_STEP = -1
"""Number of the step under which details of all steps are added up."""


@dataclass
class TextMaps:
    """What was kept of one text.

    Attributes:
        text: which columns the maps stand for, in this order.
        sums: layer to [column, height, width], float32: probabilities added up over heads and calls.
        counts: layer to the number of calls in `sums`.
        details: layer to the number of a step, from 0, to a tensor [head, column, height, width]; one head where
            heads were not kept, one step (`EVERY_STEP`) where steps were not kept.
        heads: layer to its number of heads.
    """

    text: TracedText
    sums: LayerMaps = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)

    @property
    def steps(self) -> list[int]:
        """The steps of which details were kept."""
        return sorted({step for kept in self.details.values() for step in kept if step != EVERY_STEP})


@dataclass(frozen=True)
class Contribution:
    """What one layer gives to one text in one call: [column, height, width] and [head, column, height, width]."""

    text: TracedText
    maps: Tensor
    detail: Tensor | None
    heads: int


class Accumulator:
    """Sums of everything traced. Its size depends on columns and layers, not on steps, unless steps are kept.

    Tensors are replaced, never changed: what `on_cpu` gave midway stays as it was.
    """

    def __init__(self, *, keep_steps: bool = False):
        self._keep_steps = keep_steps
        self.texts: dict[TextKey, TextMaps] = {}
        self._finite = FiniteBook()

    @torch.no_grad()
    def add(self, layer: str, contribution: Contribution, step: int) -> None:
        """Adds one layer's maps of one call.

        Where a layer's size changes on the way (a hires pass, deep shrink), each size is kept as a layer of its own.
        """
        text = contribution.text
        maps = self.texts.setdefault(text.key, TextMaps(text))
        layer = layer_of_size(layer, contribution.maps, maps.sums)
        if layer in maps.sums:
            maps.sums[layer] = maps.sums[layer] + contribution.maps
        else:
            maps.sums[layer] = contribution.maps
        maps.counts[layer] = maps.counts.get(layer, 0) + 1
        maps.heads[layer] = contribution.heads
        if contribution.detail is not None:
            kept = maps.details.setdefault(layer, {})
            number = step if self._keep_steps else EVERY_STEP
            kept[number] = kept[number] + contribution.detail if number in kept else contribution.detail

    def end_call(self, added: Sequence[tuple[str, Contribution]], call: int) -> None:
        """Looks at what one call of the model gave in all; args: call: its number, from 0."""
        layout = tuple((contribution.text.key.image, layer) for layer, contribution in added)
        self._finite.see(layout, [contribution.maps for _, contribution in added], call)

    def on_cpu(self, image: int) -> dict[TextKey, TextMaps]:
        """The maps of one picture's texts as they are now, off the device.

        Raises:
            TraceError: some are not finite; the text names the layer and the call where that began.
        """
        fault = self._finite.first_fault(image)
        if fault is not None:
            call, layer = fault
            raise TraceError(
                f"the attention of {layer} is not finite (NaN or infinite) from model call {call + 1} on, as with half "
                "precision that overflows or damaged weights; try float32, or another checkpoint"
            )
        return {key: _on_cpu(maps) for key, maps in self.texts.items() if key.image == image}


def layer_of_size(layer: str, maps: Tensor, kept: LayerMaps) -> str:
    """The name under which maps of a layer are added to the kept ones: with their size where that is another one."""
    if layer not in kept or kept[layer].shape[-2:] == maps.shape[-2:]:
        return layer
    return f"{layer}@{maps.shape[-2]}x{maps.shape[-1]}"


def _on_cpu(maps: TextMaps) -> TextMaps:
    return replace(
        maps,
        sums={layer: tensor.cpu() for layer, tensor in maps.sums.items()},
        counts=dict(maps.counts),
        details={layer: {step: tensor.cpu() for step, tensor in kept.items()} for layer, kept in maps.details.items()},
        heads=dict(maps.heads),
    )
