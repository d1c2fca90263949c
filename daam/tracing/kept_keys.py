"""Keys of the text as they are multiplied with, kept from call to call: they change only with the text and the weights.

To put them together anew in each call is most of what a small model's layers cost: there are more keys than positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from daam.tracing.unchanged import Unchanged

KEPT_BYTES = 64 * 2**20
"""What is kept at most; layers beyond it go on with the keys of each call."""

Weights = Callable[[], Sequence[Tensor] | None]
"""Gives all that a layer makes its keys with; None where that is not known."""


@dataclass(frozen=True, eq=False)
class _Group:
    """Layers that were worked off together. Attributes: keys: as `Layout.key` gives them."""

    layers: tuple[str, ...]
    keys: Tensor


class KeptKey:
    """One layer's, at its place in a group. Attributes: made_with: its weights then; weights: gives those of now."""

    __slots__ = ("group", "made_with", "place", "weights")

    def __init__(self, group: _Group, place: int, made_with: Unchanged, weights: Weights):
        self.group, self.place, self.made_with, self.weights = group, place, made_with, weights

    def key(self) -> Tensor:
        """As `Layout.key` gives it for this layer alone, as a view."""
        matrices = self.group.keys.shape[0] // len(self.group.layers)
        return self.group.keys.narrow(0, self.place * matrices, matrices)


class KeptKeys:
    """Those of one generation; all are let go when the model is given another text, or some layer other weights.

    That is looked at once, when a call begins: a layer by itself would take ten times as long to see.
    """

    def __init__(self) -> None:
        self.release()

    def release(self) -> None:
        """Lets go of all."""
        self._given: Unchanged | None = None
        self._of_rows: dict[object, dict[str, KeptKey]] = {}
        self._kept: dict[str, KeptKey] = {}

    def begin_call(self, rows: object, given: Tensor | None) -> None:
        """Args: rows: stands for those that are wanted; given: what the model is given as the text."""
        if self._given is None or given is None or not self._given.is_of((given,)):
            self.release()
            self._given = None if given is None else Unchanged((given,))
        self._kept = self._of_rows.setdefault(rows, {})
        for kept in self._kept.values():
            if not kept.made_with.is_of(kept.weights()):
                self._of_rows = {rows: {}}
                self._kept = self._of_rows[rows]
                break

    def again(self, layer: str) -> KeptKey | None:
        """A layer's in this call; None where nothing was kept of it."""
        return self._kept.get(layer)

    def keep(self, weights: Mapping[str, Weights], keys: Tensor) -> None:
        """Keeps what layers that were worked off together had, where it is known what they made it with.

        Args:
            weights: of each layer, in their order.
            keys: as `Layout.key` gives them; it is copied.
        """
        if self._held_bytes() + keys.nbytes > KEPT_BYTES:
            return
        made_with: dict[str, Unchanged] = {}
        for layer, given in weights.items():
            found = given()
            if not found:
                return
            made_with[layer] = Unchanged(found)
        group = _Group(tuple(weights), keys.clone())
        for place, (layer, made) in enumerate(made_with.items()):
            self._kept[layer] = KeptKey(group, place, made, weights[layer])

    def of_layers(self, layers: tuple[str, ...], kept: Sequence[KeptKey]) -> Tensor:
        """The keys of some layers, as `Layout.key` gives them.

        Layers without their keys come together in other groups than with them, since more fit into one. What was put
        together anew is then kept in the place of what it was made of.
        """
        group = kept[0].group
        if layers == group.layers and all(each.group is group for each in kept):
            return group.keys
        group = _Group(layers, torch.cat([each.key() for each in kept]))
        before = [(each.group, each.place) for each in kept]
        for place, each in enumerate(kept):
            each.group, each.place = group, place
        if self._held_bytes() > KEPT_BYTES:  # other layers still need what it was made of
            for each, (earlier, place) in zip(kept, before):
                each.group, each.place = earlier, place
        return group.keys

    def _held_bytes(self) -> int:
        groups = {kept.group: kept.group.keys.nbytes for each in self._of_rows.values() for kept in each.values()}
        return sum(groups.values())
