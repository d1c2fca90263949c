"""Makes maps of what layers attended with: the one place where probabilities become sums. Knows no model.

The probabilities are computed beside the model's own kernel, in float32, over all keys, only for the wanted rows. A
layer's queries and keys are only set aside when it runs; layers of one shape are worked off together, because where
kernels are small it is the number of calls that costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from daam.tracing.block import Block
from daam.tracing.families.base import Attended
from daam.tracing.layout import Layout, Wanted, WantedRow
from daam.tracing.on_device import on_device
from daam.tracing.probe import Probe, ProbeKeys

HELD_BYTES = 48 * 2**20
"""What is set aside at once; more is worked off before the call ends, so that the peak stays flat."""

ROOM_BYTES = 16 * 2**20
"""What is kept from call to call to set small layers aside in: new memory in each call costs more than the copies."""


class Room:
    """Memory for some layers of one shape, kept from call to call. Attributes: places: of each layer."""

    def __init__(self, like: Tensor, layers: int):
        """Args: like: [layer * row, place, channel], of so many layers."""
        with torch.inference_mode(False):  # so that it may be written to inside and outside of that mode
            self._whole = torch.empty_like(like)
        self.places = self._whole.chunk(layers)
        self.bytes = like.numel() * like.element_size()

    def of_first(self, layers: int) -> Tensor:
        """What stands in the places of the first layers: [layer * row, place, channel]."""
        return self._whole if layers == len(self.places) else self._whole[: layers * len(self.places[0])]


class Task:
    """What was set aside of one run of a layer.

    Attributes:
        is_dropped: another run took its place.
        rows: the call's rows that it ran with, for who decides that; is_recognised: whether they were recognised.
    """

    __slots__ = ("bias", "is_dropped", "is_recognised", "joined", "layer", "rows")

    def __init__(self, layer: str, joined: Tensor | None, bias: Tensor | None = None):
        self.layer, self.joined, self.bias = layer, joined, bias
        self.is_dropped = self.is_recognised = False
        self.rows: frozenset[int] = frozenset()


@dataclass(eq=False)
class _Group:
    """Runs of different layers of one shape, and what came of them once they were worked off.

    Attributes: room: where they are set aside, one behind the other; None where each has memory of its own.
    """

    layout: Layout
    room: Room | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    block: Block | None = None


class Engine:
    """Works off the layers of one model call after the other."""

    def __init__(self, *, keep_details: bool, keep_heads: bool, probe: Probe | None):
        """Args: keep_details: of steps or heads; keep_heads: each head by itself; probe: words beside the prompt."""
        self._keep_details = keep_details
        self._keep_heads = keep_heads
        self._probe_keys = None if probe is None else ProbeKeys(probe.vectors)
        self._probed = 0 if probe is None else len(probe.vectors)
        self._wanted: dict[tuple[WantedRow, ...], Wanted] = {}
        self._order: dict[str, None] = {}
        self._groups: list[_Group] = []
        self._open: dict[Layout, _Group] = {}
        self._held = 0
        self._rooms: dict[Layout, Room] = {}

    def wanted(self, rows: tuple[WantedRow, ...]) -> Wanted:
        """What is wanted of layers that run with these rows: to be asked for once in a call, it is slow to find."""
        if rows not in self._wanted:
            self._wanted[rows] = Wanted(rows, self._keep_details, self._keep_heads)
        return self._wanted[rows]

    def release(self) -> None:
        """Gives back what is kept from call to call to work in."""
        self._rooms.clear()

    def forget(self) -> None:
        """Forgets what a call left behind."""
        self._order.clear()
        self._groups.clear()
        self._open.clear()
        self._held = 0

    def see(self, attended: Attended, wanted: Wanted) -> Task:
        """Takes what one layer attended with.

        Raises:
            ShapeError: the keys have fewer columns than the texts, or there are not as many positions as in `size`.
        """
        layer, query, keys, mask = attended.layer, attended.query, attended.keys, attended.mask
        layout = self._layout(attended, wanted)
        if self._probe_keys is not None and attended.key_of is not None:
            keys = (*keys, self._probe_keys.of(attended))
        self._order[layer] = None
        bias = None if mask is None else layout.bias(mask)
        if layout.is_in_parts:
            task = Task(layer, None)
            block = layout.block_in_parts(layer, query, keys, bias)
            self._groups.append(_Group(layout, tasks={layer: task}, block=block))
            return task
        group = self._open.get(layout)
        if group is None or layer in group.tasks:
            group = self._new_group(layout)
        tasks, room, place = group.tasks, group.room, None
        if room is not None:
            if len(tasks) < len(room.places):
                place = room.places[len(tasks)]
            else:
                self._leave_room(group)
        task = tasks[layer] = Task(layer, layout.joined(query, keys, place), bias)
        if place is None:
            self._held += layout.joined_bytes
        if len(tasks) >= layout.layers_at_once:
            self._work_off(group)
        elif self._held > HELD_BYTES:
            self._work_off_all()
        return task

    def finish(self) -> tuple[list[Block], tuple[str, ...]]:
        """What the layers of the call gave, and the layers in the order in which they ran."""
        self._work_off_all()
        blocks = [_kept(group.block, list(group.tasks.values())) for group in self._groups if group.block is not None]
        order = tuple(self._order)
        self.forget()
        return [block for block in blocks if block.layers], order

    def _layout(self, attended: Attended, wanted: Wanted) -> Layout:
        _, query, keys, heads, scale, size, first_column, key_of, _, _, mask = attended
        shapes = keys[0].shape if len(keys) == 1 else tuple(key.shape for key in keys)
        key = (
            query.shape, shapes, query.dtype, query.device, heads, scale, size, first_column, key_of is None,
            None if mask is None else mask.shape,
        )  # fmt: skip
        layout = wanted.layouts.get(key)
        if layout is None:
            layout = Layout(wanted, attended, 0 if attended.key_of is None else self._probed)
            wanted.layouts[key] = layout
        return layout

    def _new_group(self, layout: Layout) -> _Group:
        if layout in self._open:  # one of its layers runs again
            self._work_off(self._open[layout])
        group = self._open[layout] = _Group(layout, self._rooms.get(layout))
        self._groups.append(group)
        return group

    def _work_off_all(self) -> None:
        for group in list(self._open.values()):
            self._work_off(group)

    def _work_off(self, group: _Group) -> None:
        """All of its runs; those that were dropped are sorted out at the end of the call."""
        del self._open[group.layout]
        tasks = list(group.tasks.values())
        parts = [task.joined for task in tasks if task.joined is not None]
        biases = [task.bias for task in tasks if task.bias is not None]
        if group.room is not None:
            joined = group.room.of_first(len(tasks))
        else:
            joined = parts[0] if len(parts) == 1 else torch.cat(parts)
            self._held -= len(tasks) * group.layout.joined_bytes
            self._make_room(group.layout, joined, len(tasks))
        group.block = group.layout.block(tuple(group.tasks), joined, biases)
        for task in tasks:
            task.joined = task.bias = None

    def _make_room(self, layout: Layout, joined: Tensor, layers: int) -> None:
        """For as many layers in the next call, where they are small."""
        kept = sum(room.bytes for room in self._rooms.values())
        if layout not in self._rooms and kept + layers * layout.joined_bytes <= ROOM_BYTES:
            self._rooms[layout] = Room(joined, layers)

    def _leave_room(self, group: _Group) -> None:
        """More layers run than in calls before: what was left in the room stays there until it is worked off."""
        group.room = None
        del self._rooms[group.layout]
        self._held += len(group.tasks) * group.layout.joined_bytes


def _kept(block: Block, tasks: Sequence[Task]) -> Block:
    """The block without the runs that were dropped after it was made."""
    places = [place for place, task in enumerate(tasks) if not task.is_dropped]
    if len(places) == len(tasks):
        return block
    index = on_device(places, block.sums.device, torch.long)
    detail = None if block.detail is None else block.detail.index_select(0, index)
    layers = tuple(block.layers[place] for place in places)
    return replace(block, layers=layers, sums=block.sums.index_select(0, index), detail=detail)
