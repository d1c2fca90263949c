"""Adds up attention maps at each layer's own resolution, on the model's device. Knows no model and no host."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from daam.tracing.plan import TextKey, TracedText

LayerMaps = dict[str, Tensor]
"""Layer name to maps [column, height, width], or with leading axes [step] and [head] where they were kept."""


@dataclass
class TextMaps:
    """What was kept of one text.

    Attributes:
        text: which columns the maps stand for, in this order.
        sums: layer to [column, height, width], float32: probabilities added up over heads and calls.
        counts: layer to the number of calls in `sums`.
        details: layer to one tensor [head, column, height, width] for each call (or one for all calls together when
            only heads are kept); one head where heads were not kept.
        steps: for each call in `details`, the number of the model call, from 0.
        heads: layer to its number of heads.
    """

    text: TracedText
    sums: LayerMaps = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, list[Tensor]] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)
    heads: dict[str, int] = field(default_factory=dict)


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

    @torch.no_grad()
    def add(self, layer: str, contribution: Contribution, step: int) -> None:
        """Adds one layer's maps of one call.

        Where a layer's size changes on the way (a hires pass, deep shrink), each size is kept as a layer of its own,
        without details.
        """
        text = contribution.text
        maps = self.texts.setdefault(text.key, TextMaps(text))
        typical, layer = layer, layer_of_size(layer, contribution.maps, maps.sums)
        if layer in maps.sums:
            maps.sums[layer] = maps.sums[layer] + contribution.maps
        else:
            maps.sums[layer] = contribution.maps
        maps.counts[layer] = maps.counts.get(layer, 0) + 1
        maps.heads[layer] = contribution.heads
        if contribution.detail is not None and layer == typical:
            self._add_detail(maps, layer, contribution.detail, step)

    def _add_detail(self, maps: TextMaps, layer: str, detail: Tensor, step: int) -> None:
        kept = maps.details.setdefault(layer, [])
        if self._keep_steps or not kept:
            kept.append(detail)
        else:
            kept[0] = kept[0] + detail
        if self._keep_steps and (not maps.steps or maps.steps[-1] != step):
            maps.steps.append(step)

    def on_cpu(self, image: int) -> dict[TextKey, TextMaps]:
        """The maps of one picture's texts as they are now, off the device."""
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
        details={layer: [tensor.cpu() for tensor in kept] for layer, kept in maps.details.items()},
        steps=list(maps.steps),
        heads=dict(maps.heads),
    )
