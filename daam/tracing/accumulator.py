"""Adds up attention maps at each layer's own resolution, on the model's device. Knows no model and no host.

Layers of one shape are kept in one tensor, as they are worked off: one call adds them all up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from daam.errors import TraceError
from daam.tracing.block import Block, Legend, Share
from daam.tracing.finite import FiniteBook
from daam.tracing.joining import join_texts
from daam.tracing.plan import TextKey
from daam.tracing.text_maps import EVERY_STEP, TextMaps

SPARE_BYTES = 64 * 2**20
"""What blocks may hold twice, because texts come together in ever new ways, before they are taken apart."""


@dataclass
class _Total:
    """A block of all calls. Attributes: details: number of the step to the details."""

    sums: Tensor
    count: int = 0
    details: dict[int, Tensor] = field(default_factory=dict)


class Accumulator:
    """Sums of everything traced. Its size depends on columns and layers, not on steps, unless steps are kept."""

    def __init__(self, *, keep_steps: bool = False):
        self._keep_steps = keep_steps
        self._totals: dict[tuple[Legend, tuple[str, ...]], _Total] = {}
        self._settled: dict[TextKey, TextMaps] = {}
        self._finite = FiniteBook()
        self._needed: dict[tuple[TextKey, str], int] = {}

    @property
    def is_empty(self) -> bool:
        return not self._totals and not self._settled

    @torch.no_grad()
    def add(self, blocks: Sequence[Block], order: Sequence[str], *, step: int, call: int) -> None:
        """Adds what one call of the model gave.

        Args:
            order: in which the layers ran.
            step: number under which details are kept.
            call: its own number, from 0.
        """
        for block in blocks:
            key = (block.legend, block.layers)
            total = self._totals.get(key)
            if total is None:
                self._make_room(block)
                total = self._totals[key] = _Total(block.sums)
            else:
                total.sums = _added(total.sums, block.sums)
            total.count += 1
            self._finite.see(block, order, call)
            if block.detail is not None:
                number = step if self._keep_steps else EVERY_STEP
                kept = total.details
                kept[number] = _added(kept[number], block.detail) if number in kept else block.detail

    @torch.no_grad()
    def on_cpu(self, image: int) -> dict[TextKey, TextMaps]:
        """The maps of one picture's texts as they are now, off the device; what comes later does not change them.

        Where a layer's size changed on the way (a hires pass, deep shrink), each size is a layer of its own.

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
        settled = {key: _on_cpu(maps) for key, maps in self._settled.items() if key.image == image}
        return join_texts([settled, *self._taken_apart(torch.device("cpu"), image)])

    def _make_room(self, block: Block) -> None:
        """Takes the totals apart where they hold much twice: the same texts, in ever other company."""
        height, width = block.legend.size
        for share in block.legend.shares:
            for layer in block.layers:
                self._needed[share.text.key, layer] = 4 * height * width * len(share.columns)
        held = sum(total.sums.numel() * total.sums.element_size() for total in self._totals.values())
        if held > SPARE_BYTES + 2 * sum(self._needed.values()):
            self._settled = join_texts([self._settled, *self._taken_apart(block.sums.device)])
            self._totals.clear()

    def _taken_apart(self, device: torch.device, image: int | None = None) -> Iterator[dict[TextKey, TextMaps]]:
        """The totals' maps text by text, as they came."""
        for (legend, layers), total in self._totals.items():
            for share in legend.shares:
                if image is None or share.text.key.image == image:
                    yield {share.text.key: _of_share(share, legend, layers, total, device)}


def _added(total: Tensor, more: Tensor) -> Tensor:
    """In place, but what was made in inference mode cannot be changed outside of it."""
    if total.is_inference() and not torch.is_inference_mode_enabled():
        return total + more
    return total.add_(more)


def _of_share(share: Share, legend: Legend, layers: tuple[str, ...], total: _Total, device: torch.device) -> TextMaps:
    sums = _columns(total.sums[:, share.row], share.columns, legend.size, device)
    details: dict[str, dict[int, Tensor]] = {}
    if share.detail_columns:
        for step, detail in total.details.items():
            chosen = _columns(detail[:, share.row], share.detail_columns, legend.size, device)
            for layer, maps in zip(layers, chosen):
                details.setdefault(layer, {})[step] = maps
    counts, heads = dict.fromkeys(layers, total.count), dict.fromkeys(layers, legend.heads)
    return TextMaps(share.text, dict(zip(layers, sums)), counts, details, heads)


def _columns(maps: Tensor, columns: tuple[int, ...], size: tuple[int, int], device: torch.device) -> list[Tensor]:
    """[layer, ..., position, column] to a list of [..., len(columns), height, width], each in memory of its own."""
    chosen = maps.index_select(-1, torch.tensor(columns, device=maps.device)).transpose(-1, -2).to(device)
    return [layer.reshape(*layer.shape[:-1], *size).clone() for layer in chosen]


def _on_cpu(maps: TextMaps) -> TextMaps:
    sums = {layer: tensor.cpu() for layer, tensor in maps.sums.items()}
    details = {layer: {step: tensor.cpu() for step, tensor in kept.items()} for layer, kept in maps.details.items()}
    return replace(maps, sums=sums, details=details)
