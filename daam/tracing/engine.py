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

from daam.errors import TraceError
from daam.tracing.block import Block
from daam.tracing.families.base import Attended
from daam.tracing.kept_keys import KeptKey, KeptKeys
from daam.tracing.layout import Layout, Wanted, WantedRow
from daam.tracing.memory import Room, Scratch
from daam.tracing.on_device import on_device
from daam.tracing.operands import operand_of_keys, operand_of_queries
from daam.tracing.probe import Probe, ProbeKeys
from daam.tracing.unchanged import VERSION

HELD_BYTES = 48 * 2**20
"""What is set aside at once; more is worked off before the call ends, so that the peak stays flat."""

SMALL_BYTES = 16 * 2**20
"""Of a layer's queries and keys: up to so many they are not copied by themselves, since there launching costs most."""

ROOM_BYTES = 16 * 2**20
"""What is kept from call to call to put small layers together in: new memory in each call costs more than copies."""

_CHANGED = (
    "something changed the query or the key of {} after they were made, which it had not done in an earlier call of "
    "the model"
)


class Task:
    """What was set aside of one run of a layer.

    Attributes:
        is_dropped: another run took its place.
        rows: the call's rows that it ran with, for who decides that; is_recognised: whether they were recognised.
        bias: what a mask adds to the scores.
        held: the model's own query and keys, where they are not copied; written: how often they had been
            written to when they were seen.
        kept: its key, where that of an earlier call is taken.
    """

    __slots__ = ("bias", "held", "is_dropped", "is_recognised", "kept", "layer", "rows", "written")

    def __init__(self, layer: str, held: tuple[Tensor, ...] = ()):
        self.layer, self.held = layer, held
        self.written = _written(held)
        self.bias: Tensor | None = None
        self.kept: KeptKey | None = None
        self.is_dropped = self.is_recognised = False
        self.rows: frozenset[int] = frozenset()


class Usual:
    """What a layer did in an earlier call with these rows: where it does so again, nothing else has to be found out.

    Attributes: key_weights: as in `Attended`; task: used anew in each call.
    """

    __slots__ = ("device", "dtype", "key_shape", "key_weights", "layout", "query_shape", "task")

    def __init__(self, attended: Attended, layout: Layout):
        query, key = attended.query, attended.keys[0]
        self.query_shape, self.key_shape = query.shape, key.shape
        self.dtype, self.device = query.dtype, query.device
        self.layout, self.key_weights = layout, attended.key_weights
        self.task = Task(attended.layer)


@dataclass(eq=False)
class _Group:
    """Runs of different layers of one shape, and what came of them once they were worked off.

    Attributes:
        is_kept: their keys are those that were kept.
        parts: their queries and keys, [row, place, channel], one behind the other.
        bytes_each: of what is set aside of a layer.
    """

    layout: Layout
    is_kept: bool
    tasks: dict[str, Task] = field(default_factory=dict)
    parts: list[Tensor] = field(default_factory=list)
    block: Block | None = None

    def __post_init__(self) -> None:
        self.bytes_each = self.layout.query_bytes if self.is_kept else self.layout.joined_bytes


class Engine:
    """Works off the layers of one model call after the other.

    A layer's queries and keys are copied at once, for its model may change them. Where it was seen that it does not,
    those of later calls are only held until layers are put together; that they are as they were is looked at then. Of
    keys that were kept from an earlier call nothing is held at all.

    Where launching kernels is all that counts, Python's own calls are what a layer costs. So what a layer does is kept
    (`Usual`), and `see_again` only looks whether it is still so.
    """

    def __init__(self, *, keep_details: bool, keep_heads: bool, probe: Probe | None):
        """Args: keep_details: of steps or heads; keep_heads: each head by itself; probe: words beside the prompt."""
        self._keep_details = keep_details
        self._keep_heads = keep_heads
        self._probe = probe
        self.restart()

    def restart(self) -> None:
        """Forgets everything, for the next generation."""
        probe = self._probe
        self._probe_keys = None if probe is None else ProbeKeys(probe.vectors)
        self._probed = 0 if probe is None else len(probe.vectors)
        self._wanted: dict[tuple[WantedRow, ...], Wanted] = {}
        self._order: dict[str, Task | None] = {}
        self._groups: list[_Group] = []
        self._open: dict[tuple[Layout, bool], _Group] = {}
        self._held = 0
        self._rooms: dict[tuple[Layout, bool], Room] = {}
        self._kept = KeptKeys()
        self._last_key: tuple[str, Tensor, int] | None = None
        self._scratch = Scratch()
        self._steady: set[str] = set()
        self._usual_of: dict[tuple[Wanted, tuple[int, int]], dict[str, Usual]] = {}
        self._copied: tuple[Task, Usual | None] | None = None
        self._usual: dict[str, Usual] = {}
        self._given: Tensor | None = None

    def wanted(self, rows: tuple[WantedRow, ...]) -> Wanted:
        """What is wanted of layers that run with these rows: to be asked for once in a call, it is slow to find."""
        if rows not in self._wanted:
            self._wanted[rows] = Wanted(rows, self._keep_details, self._keep_heads)
        return self._wanted[rows]

    def begin_call(self, wanted: Wanted, given: Tensor | None, latent_size: tuple[int, int]) -> None:
        """
        Args:
            wanted: of layers that run with all rows.
            given: what the call conditions them with.
            latent_size: (height, width) of what the model works on; with it and its positions a layer has its size.
        """
        self._given = given
        self._kept.begin_call(wanted, given)
        self._usual = self._usual_of.setdefault((wanted, latent_size), {})

    def release(self) -> None:
        """Gives back what is kept from call to call to work in."""
        self._rooms.clear()
        self._scratch.release()
        self._kept.release()

    def forget(self) -> None:
        """Forgets what a call left behind."""
        for group in self._open.values():
            _let_go(group)
        self._order.clear()
        self._groups.clear()
        self._open.clear()
        self._held = 0
        self._copied = self._given = self._last_key = None
        self._usual = {}

    def see_again(self, layer: str, query: Tensor, key: Tensor, context: Tensor) -> bool:
        """Takes what one layer attended with if all is as it was in an earlier call.

        Nothing here can fail, and nothing is worked off.

        Args: context: what the keys were made of.

        Returns:
            Whether it was taken; where it was not, `see` is to be asked.
        """
        usual = self._usual.get(layer)
        if (
            usual is None
            or context is not self._given
            or query.shape != usual.query_shape
            or key.shape != usual.key_shape
            or query.dtype is not usual.dtype
            or query.device != usual.device
            or layer in self._order
            or self._copied is not None
        ):
            return False
        try:
            last = self._last_key
            if last is not None and last[1]._version != last[2]:
                return False  # `see` says why
            parts = self._parts_again(usual, query, key)
        except RuntimeError:  # of inference mode
            return False
        if parts is None:
            return False
        layout, task = usual.layout, usual.task
        is_kept = task.kept is not None
        group = self._open.get((layout, is_kept))
        if group is not None and len(group.tasks) + 1 >= layout.layers_at_once:
            return False
        if self._held + (layout.query_bytes if is_kept else layout.joined_bytes) > HELD_BYTES:
            return False
        if group is None:
            group = self._new_group(layout, is_kept)
        self._order[layer] = task
        self._put(group, task, parts)
        return True

    def _parts_again(self, usual: Usual, query: Tensor, key: Tensor) -> tuple[Tensor, ...] | None:
        """What has to be put together of a layer that does what it did before; `usual.task` is made to stand for it.

        Returns:
            None where a probe's key has to be made anew.

        Raises:
            RuntimeError: they are of inference mode, in which nobody counts what is written.
        """
        task, layer = usual.task, usual.task.layer
        kept = task.kept = self._kept.again(layer)
        task.bias, task.is_dropped = None, False
        if kept is not None:  # the new key is not held: it would take the memory from the next layer's
            task.held = (query,)
            task.written, self._last_key = query._version, (layer, key, key._version)
            return task.held
        task.held = (query, key)
        task.written, self._last_key = query._version + key._version, None
        if self._probe_keys is None:
            return task.held
        probe = None if usual.key_weights is None else self._probe_keys.again(layer, usual.key_weights())
        return None if probe is None else (query, key, probe)

    def _check_last_key(self) -> None:
        """Of the latest layer, where it was not held: whether the model left it as it was."""
        if self._last_key is not None:
            layer, key, version = self._last_key
            if key._version != version:
                raise TraceError(_CHANGED.format(layer))

    def seen_again(self, layer: str) -> Task | None:
        """The run of a layer that `see_again` took in this call."""
        return self._order.get(layer)

    def see(self, attended: Attended, wanted: Wanted) -> Task:
        """Takes what one layer attended with.

        Raises:
            ShapeError: the keys have fewer columns than the texts, or there are not as many positions as in `size`.
            TraceError: the model changed what a layer attended with, and did not before.
        """
        layer, query, keys = attended.layer, attended.query, attended.keys
        layout = self._layout(attended, wanted)
        if self._probe_keys is not None and attended.key_of is not None:
            keys = (*keys, self._probe_keys.of(attended))
        runs_again = layer in self._order
        self._order[layer] = None
        self._check_last_key()
        if self._copied is not None:
            self._look_back(*self._copied)
        bias = None if attended.mask is None else layout.bias(attended.mask)
        if layout.is_alone:
            task = Task(layer)
            block = layout.block_alone(layer, query, keys, bias)
            self._groups.append(_Group(layout, is_kept=False, tasks={layer: task}, block=block))
            return task
        # Nobody counts what is written to tensors of inference mode; what a layer makes in one call is all alike.
        held = () if query.is_inference() else (query, *attended.keys)
        usual = None if runs_again else self._usual_for(attended, layout)
        parts: tuple[Tensor, ...] | None = None
        if held and layer in self._steady and layout.joined_bytes <= SMALL_BYTES:
            if usual is not None:
                self._usual[layer] = usual
                task, parts = usual.task, self._parts_again(usual, query, attended.keys[0])
            if parts is None:
                task, parts = Task(layer, held), layout.parts(query, keys)
        else:
            task, parts = Task(layer), (layout.joined(query, keys),)
            self._copied = (Task(layer, held), usual) if held else None
        task.bias = bias
        group = self._open.get((layout, task.kept is not None))
        if group is None or layer in group.tasks:
            group = self._new_group(layout, task.kept is not None)
        self._put(group, task, parts)
        if len(group.tasks) >= layout.layers_at_once:
            self._work_off(group)
        elif self._held > HELD_BYTES:
            self._work_off_all()
        return task

    def _usual_for(self, attended: Attended, layout: Layout) -> Usual | None:
        """What to look at in the layer's next runs; None where that is not enough, or where copies are made anyway."""
        is_plain = len(attended.keys) == 1 and attended.mask is None and attended.query.dim() == 3
        is_whole = self._given is not None and attended.context is self._given
        is_small = layout.joined_bytes <= SMALL_BYTES and layout.layers_at_once > 1
        if not (is_plain and is_whole and is_small):
            return None
        usual = self._usual.get(attended.layer)
        return usual if usual is not None and usual.layout is layout else Usual(attended, layout)

    def _look_back(self, task: Task, usual: Usual | None) -> None:
        """At the layer that ran last: whether its model left what was copied as it was, now that it is through."""
        if task.written == _written(task.held):
            self._steady.add(task.layer)
            if usual is not None:
                self._usual[task.layer] = usual
        self._copied = None

    def finish(self) -> tuple[list[Block], tuple[str, ...]]:
        """What the layers of the call gave, and the layers in the order in which they ran.

        Raises:
            TraceError: the model changed what a layer attended with, and did not before.
        """
        self._check_last_key()
        if self._copied is not None:
            self._look_back(*self._copied)
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

    def _new_group(self, layout: Layout, is_kept: bool) -> _Group:
        earlier = self._open.get((layout, is_kept))
        if earlier is not None:  # one of its layers runs again
            self._work_off(earlier)
        group = self._open[layout, is_kept] = _Group(layout, is_kept)
        self._groups.append(group)
        return group

    def _put(self, group: _Group, task: Task, parts: tuple[Tensor, ...]) -> None:
        group.tasks[task.layer] = task
        group.parts += parts
        self._held += group.bytes_each

    def _work_off_all(self) -> None:
        for group in list(self._open.values()):
            self._work_off(group)

    def _work_off(self, group: _Group) -> None:
        """All of its runs; those that were dropped are sorted out at the end of the call."""
        layout, tasks, layers = group.layout, list(group.tasks.values()), tuple(group.tasks)
        del self._open[layout, group.is_kept]
        self._held -= len(tasks) * group.bytes_each
        if _written([tensor for task in tasks for tensor in task.held]) != sum([task.written for task in tasks]):
            raise TraceError(_CHANGED.format(next(task.layer for task in tasks if task.written != _written(task.held))))
        biases = [task.bias for task in tasks if task.bias is not None]
        joined, queries = self._together(group)
        query = operand_of_queries(queries, self._scratch)
        if group.is_kept:
            key = self._kept.of_layers(layers, [task.kept for task in tasks if task.kept is not None])
        else:
            key = operand_of_keys(layout.keys(len(tasks), joined), self._scratch)
            self._keep(tasks, key)
        group.block = layout.block(layers, query, key, biases, self._scratch)
        _let_go(group)

    def _keep(self, tasks: Sequence[Task], key: Tensor) -> None:
        """For later calls, where all of the layers do what they do in each."""
        weights = {}
        for task in tasks:
            usual = self._usual.get(task.layer)
            if usual is None or usual.task is not task or usual.key_weights is None:
                return
            weights[task.layer] = usual.key_weights
        self._kept.keep(weights, key)

    def _together(self, group: _Group) -> tuple[Tensor, Tensor]:
        """What was set aside of a group, as `Layout.wanted_rows` gives it, and as `Layout.queries` does."""
        layout, layers = group.layout, len(group.tasks)
        if len(group.parts) == 1:
            joined = group.parts[0]
        else:
            kind = (layout, group.is_kept)
            room = self._rooms.get(kind)
            place = None if room is None else room.of(layers)
            if place is not None:
                whole, queries = place
                joined = layout.wanted_rows(torch.cat(group.parts, dim=1, out=whole))
                return joined, queries if joined is whole else layout.queries(layers, joined)
            joined = self._in_new_memory(group)
        joined = layout.wanted_rows(joined)
        return joined, layout.queries(layers, joined)

    def _in_new_memory(self, group: _Group) -> Tensor:
        """[row, layer * place, channel]; memory of that size is kept for later calls where there is room."""
        kind, joined = (group.layout, group.is_kept), torch.cat(group.parts, dim=1)
        kept = sum(room.bytes for other, room in self._rooms.items() if other != kind)
        if kept + joined.nbytes <= ROOM_BYTES:
            self._rooms[kind] = Room(joined, len(group.tasks), group.layout.queries)
        return joined


def _let_go(group: _Group) -> None:
    """Of the tensors that were set aside."""
    group.parts.clear()
    for task in group.tasks.values():
        task.bias, task.kept, task.held = None, None, ()


def _written(held: Sequence[Tensor]) -> int:
    """How often something was written to the tensors; it only grows."""
    return sum(map(VERSION, held))


def _kept(block: Block, tasks: Sequence[Task]) -> Block:
    """The block without the runs that were dropped after it was made."""
    places = [place for place, task in enumerate(tasks) if not task.is_dropped]
    if len(places) == len(tasks):
        return block
    index = on_device(places, block.sums.device, torch.long)
    detail = None if block.detail is None else block.detail.index_select(0, index)
    layers = tuple(block.layers[place] for place in places)
    return replace(block, layers=layers, sums=block.sums.index_select(0, index), detail=detail)
