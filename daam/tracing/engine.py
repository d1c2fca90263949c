"""Makes maps of what layers attended with: the one place where probabilities become sums. Knows no model.

The probabilities are computed beside the model's own kernel, in float32, over all keys, only for the wanted rows. A
layer's queries and keys are only set aside when it runs; layers of one shape are worked off together, because where
kernels are small it is the number of calls that costs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from daam.tracing.block import Block
from daam.tracing.families.base import Attended
from daam.tracing.layout import Layout, Wanted, WantedRow
from daam.tracing.probe import Probe, ProbeKeys

HELD_BYTES = 64 * 2**20
"""What is set aside at once; more is worked off before the call ends, so that the peak stays flat."""


@dataclass(eq=False)
class _Group:
    """Layers of one shape of one call: what was set aside of them, and what came of it once it was worked off."""

    layout: Layout
    joined: dict[str, Tensor] = field(default_factory=dict)
    block: Block | None = None


class Engine:
    """Works off the layers of one model call after the other.

    Of a layer that runs twice in one call (ControlNet's reference pass) the last run counts.
    """

    def __init__(self, *, keep_details: bool, keep_heads: bool, probe: Probe | None):
        """Args: keep_details: of steps or heads; keep_heads: each head by itself; probe: words beside the prompt."""
        self._keep_details = keep_details
        self._keep_heads = keep_heads
        self._probe_keys = None if probe is None else ProbeKeys(probe.vectors)
        self._probed = 0 if probe is None else len(probe.vectors)
        self._layouts: dict[tuple[WantedRow, ...], dict[Hashable, Layout]] = {}
        self._rows: tuple[WantedRow, ...] = ()
        self._of_rows: dict[Hashable, Layout] = {}
        self._last: dict[str, _Group] = {}
        self._groups: list[_Group] = []
        self._open: dict[Layout, _Group] = {}
        self._held = 0

    def begin(self, rows: Sequence[WantedRow]) -> None:
        """Forgets what a call left behind and begins one with these wanted rows."""
        self.forget()
        self._rows = tuple(rows)
        self._of_rows = self._layouts.setdefault(self._rows, {})

    def forget(self) -> None:
        self._last.clear()
        self._groups.clear()
        self._open.clear()
        self._held = 0

    def see(self, attended: Attended) -> None:
        """Takes what one layer attended with.

        Raises:
            ShapeError: the keys have fewer columns than the texts.
        """
        keys = attended.keys
        if self._probe_keys is not None and attended.key_of is not None:
            keys = (*keys, self._probe_keys.of(attended))
        layout = self._layout(attended)
        earlier = self._last.get(attended.layer)
        if earlier is not None:
            earlier.joined.pop(attended.layer, None)
        if layout.positions_at_once < attended.query.shape[1]:
            group = _Group(layout, block=layout.block_in_parts(attended.layer, attended.query, keys))
            self._groups.append(group)
        else:
            group = self._open_group(layout)
            joined = group.joined[attended.layer] = layout.joined(attended.query, keys)
            self._held += joined.numel() * joined.element_size()
            if len(group.joined) >= layout.layers_at_once:
                self._work_off(group)
            elif self._held > HELD_BYTES:
                self._work_off_all()
        self._last[attended.layer] = group

    def finish(self) -> tuple[list[Block], tuple[str, ...]]:
        """What the layers of the call gave, and the layers in the order in which they ran."""
        self._work_off_all()
        blocks = [self._latest(group.block, group) for group in self._groups if group.block is not None]
        order = tuple(self._last)
        self.forget()
        return [block for block in blocks if block.layers], order

    def _layout(self, attended: Attended) -> Layout:
        query = attended.query
        key = (
            query.shape, tuple(key.shape for key in attended.keys), query.dtype, query.device, attended.heads,
            attended.scale, attended.size, attended.first_column, attended.key_of is None,
        )  # fmt: skip
        layout = self._of_rows.get(key)
        if layout is None:
            probed = 0 if attended.key_of is None else self._probed
            wanted = Wanted(self._rows, self._keep_details, self._keep_heads, probed)
            layout = self._of_rows[key] = Layout(wanted, attended)
        return layout

    def _open_group(self, layout: Layout) -> _Group:
        group = self._open.get(layout)
        if group is None:
            group = self._open[layout] = _Group(layout)
            self._groups.append(group)
        return group

    def _work_off_all(self) -> None:
        for group in list(self._open.values()):
            self._work_off(group)
        self._held = 0

    def _work_off(self, group: _Group) -> None:
        del self._open[group.layout]
        self._held -= sum(joined.numel() * joined.element_size() for joined in group.joined.values())
        if group.joined:
            group.block = group.layout.block(group.joined)
        group.joined = {}

    def _latest(self, block: Block, group: _Group) -> Block:
        """The block without the layers that ran again after it."""
        places = [place for place, layer in enumerate(block.layers) if self._last[layer] is group]
        if len(places) == len(block.layers):
            return block
        index = torch.tensor(places, dtype=torch.long, device=block.sums.device)
        detail = None if block.detail is None else block.detail.index_select(0, index)
        layers = tuple(block.layers[place] for place in places)
        return replace(block, layers=layers, sums=block.sums.index_select(0, index), detail=detail)
