"""What layers of one shape gave in one call of the model, as one tensor, and what its axes stand for. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from daam.tracing.plan import TracedText


@dataclass(frozen=True)
class Share:
    """Where one text stands in a block.

    Attributes:
        row: of the block.
        columns: places of the text's columns along the block's last axis, in the text's order.
        detail_columns: the same along the last axis of details.
    """

    text: TracedText
    row: int
    columns: tuple[int, ...]
    detail_columns: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Legend:
    """What the axes of a block stand for. Blocks with the same legend, the very object, are added up.

    Attributes:
        size: (height, width) of the positions.
        heads: of each layer.
    """

    shares: tuple[Share, ...]
    size: tuple[int, int]
    heads: int


@dataclass(frozen=True)
class Block:
    """What layers of one shape gave in one call. Whoever makes it gives it away: sums are added up in it.

    Attributes:
        sums: [layer, row, position, column], float32, summed over heads.
        detail: [layer, row, head, position, column]; None where none was asked for.
        is_finite: known to be; otherwise that is still to be looked at.
    """

    legend: Legend
    layers: tuple[str, ...]
    sums: Tensor
    detail: Tensor | None = None
    is_finite: bool = False
