"""Carries maps along a model's self-attention, so that they follow outlines. Arithmetic on tensors; knows no model.

A word's map says what, but coarsely; self-attention says which positions belong together in the finished picture. Each
position takes the mean of the map over the positions that it attends to, within a window, and heads count by how much
they tell: the mutual information of the position that looks and the one that is looked at. It is carried once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from daam.errors import ShapeError, TraceError
from daam.tracing.attention import in_full_precision

ELEMENTS_AT_ONCE = {"cpu": 512 * 1024, "other": 8 * 1024 * 1024}
"""Numbers in any one tensor that is held at once, by the kind of device: as many as a processor's cache takes, and
32 MiB in float32 where it is the number of calls that costs."""

COLUMNS_TOGETHER = 16
"""What is carried is filled up with zeros to a multiple of so many columns: a processor multiplies 16 in a fifth of the
time of 11."""

ROWS_TOGETHER = 128
"""Of so many positions' rows at least, rather than of more heads: fewer are multiplied half as fast."""

OnRows = Callable[[int], object]
"""Gets the number of rows of self-attention that were just worked off, to show how far it is: heads times positions."""


@dataclass(frozen=True)
class Definition:
    """How maps are carried; `benchmarks.segmentation --maps --ablation` has what each is worth.

    Attributes:
        window: standard deviation of the gaussian window, as a share of the grid's shorter side; infinite is none.
        contrast: power of the map that is carried: what is weak at the start is not spread.
        telling: power of a head's mutual information, which makes its weight; 0 lets all heads count alike.
    """

    window: float = 0.25
    contrast: float = 1.5
    telling: float = 0.5


USUAL = Definition()


@dataclass(frozen=True)
class SelfAttention:
    """What one layer attended to the picture with.

    Attributes:
        query, key: [position, head * channel], any float type, of one device.
        scale: multiplies the scores.
    """

    query: Tensor
    key: Tensor
    heads: int
    scale: float

    @property
    def scores(self) -> int:
        """How many it has: what carrying maps takes goes by them."""
        return self.heads * len(self.query) ** 2


@torch.no_grad()
def refine(
    maps: Tensor,
    layers: Sequence[SelfAttention],
    on_rows: OnRows = lambda rows: None,
    definition: Definition = USUAL,
) -> Tensor:
    """Maps that follow the outlines of what the positions show, each with the highest value that it had.

    With A = softmax(query · keyᵀ · scale) of a head, G(p, q) = exp(-|p - q|² / 2σ²) and the weight w of the head,
    the root of H(mean row of A) - mean of H(row of A): R(p) = Σ w A G m(q) / Σ w A G over heads and positions q, where
    m is the map, brought to 0..1, to the power of 1.5. No more than some rows of A are held at once.

    >>> spot = torch.zeros(1, 4, 4)
    >>> spot[0, 1, 1] = 3.0
    >>> halves = torch.eye(2).repeat_interleave(8, dim=0) * 8  # the upper half is one thing, the lower another
    >>> found = refine(spot, [SelfAttention(halves, halves, heads=1, scale=1.0)])
    >>> (found[0] > 0.3).sum(dim=1).tolist()
    [4, 4, 0, 0]

    Args:
        maps: [column, height, width] on the layers' device, not negative.
        layers: of height * width positions each, in rows.

    Returns:
        [column, height, width], float32: 0 to the highest value of each map.

    Raises:
        ShapeError: a layer has another number of positions.
        TraceError: the self-attention is not finite.
    """
    columns, height, width = maps.shape
    for layer in layers:
        if not len(layer.query) == len(layer.key) == height * width:
            raise ShapeError(f"expected {height * width} positions, got {len(layer.query)} and {len(layer.key)}")
    flat = maps.flatten(1).float()
    seeds = torch.cat([_unit(flat) ** definition.contrast, flat.new_ones(1, flat.shape[1])])
    carried = functional.pad(seeds, (0, 0, 0, -len(seeds) % COLUMNS_TOGETHER)).T.contiguous()
    carrier = _Carrier(carried, _Window(height, width, definition.window, flat.device), definition.telling, on_rows)
    total = torch.zeros_like(carried)
    for layer in layers:
        total += carrier.along(layer)
    if not bool(total.isfinite().all()):
        raise TraceError("the model's self-attention is not finite (NaN or infinite), as with half precision")
    refined = (total[:, :columns] / total[:, columns, None]).T
    return (_unit(refined) * flat.amax(dim=1, keepdim=True)).reshape(columns, height, width)


def on_grid(layer_maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The sum of maps [column, height, width] of layers of any size, on one grid: [column, *size], not negative."""
    total = layer_maps[0].new_zeros(len(layer_maps[0]), *size)
    for maps in layer_maps:
        if maps.shape[-2:] == size:
            total += maps
        else:
            is_smaller = maps.shape[-2] > size[0] or maps.shape[-1] > size[1]
            total += functional.interpolate(maps[None], size, mode="bicubic", antialias=is_smaller)[0]
    return total.clamp_(min=0)


def _unit(flat: Tensor) -> Tensor:
    """[column, position] from 0 to 1; zeros where a map is even."""
    lowest, highest = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    return (flat - lowest) / (highest - lowest).clamp(min=torch.finfo(torch.float32).tiny)


class _Window:
    """The gaussian around each position of a grid, row by row."""

    def __init__(self, height: int, width: int, share: float, device: torch.device):
        self.height, self.width = height, width
        deviation = share * min(height, width)
        self._down, self._across = (_gaussian(side, deviation, device) for side in (height, width))

    def rows(self, first: int, last: int) -> Tensor:
        """[position, place] of the positions from `first` to `last`, exclusive."""
        places = torch.arange(first, last, device=self._down.device)
        down, across = self._down[places // self.width], self._across[places % self.width]
        return (down[:, :, None] * across[:, None, :]).flatten(1)


def _gaussian(side: int, deviation: float, device: torch.device) -> Tensor:
    places = torch.arange(side, device=device, dtype=torch.float32)
    return torch.exp(-((places[:, None] - places) ** 2) / (2 * deviation**2))


@dataclass(frozen=True)
class _Carrier:
    """Carries [position, column] along layers."""

    carried: Tensor
    window: _Window
    telling: float
    on_rows: OnRows

    def along(self, layer: SelfAttention) -> Tensor:
        """The sums over one layer's heads, each by its weight: [position, column]."""
        query, key = (each.unflatten(1, (layer.heads, -1)).transpose(0, 1) for each in (layer.query, layer.key))
        positions, columns = self.carried.shape
        at_once = max(1, self._elements // (positions * max(columns, ROWS_TOGETHER)))
        total = torch.zeros_like(self.carried)
        with in_full_precision(self.carried.device.type):
            for some_query, some_key in zip(query.split(at_once), key.split(at_once)):
                total += self._along_heads(some_query.float(), some_key.float(), layer.scale)
        return total

    def _along_heads(self, query: Tensor, key: Tensor, scale: float) -> Tensor:
        """The same of some heads. Args: query, key: [head, position, channel]."""
        heads, positions = query.shape[:2]
        sums = self.carried.new_empty(heads, *self.carried.shape)
        looked_at, row_entropy = query.new_zeros(heads, positions), query.new_zeros(heads)
        at_once = min(positions, max(1, self._elements // (heads * positions)))
        room = query.new_empty(2, heads, at_once, positions)  # new memory for each step takes longer than the steps
        for first in range(0, positions, at_once):
            last = min(positions, first + at_once)
            scores, shares = room[:, :, : last - first]
            torch.baddbmm(scores, query[:, first:last], key.transpose(1, 2), beta=0, alpha=scale, out=scores)
            torch.softmax(scores, dim=2, out=shares)
            divisors = scores.amax(dim=2) - shares.amax(dim=2).log()  # logarithms
            row_entropy += (divisors - scores.mul_(shares).sum(dim=2)).sum(dim=1)
            looked_at += shares.sum(dim=1)
            shares *= self.window.rows(first, last)
            sums[:, first:last] = torch.matmul(shares, self.carried)
            self.on_rows(heads * (last - first))
        looked_at /= positions
        information = -torch.special.xlogy(looked_at, looked_at).sum(dim=1) - row_entropy / positions
        weights = information.clamp(min=torch.finfo(torch.float32).eps) ** self.telling
        return torch.einsum("h,hpc->pc", weights, sums)

    @property
    def _elements(self) -> int:
        return ELEMENTS_AT_ONCE.get(self.carried.device.type, ELEMENTS_AT_ONCE["other"])
