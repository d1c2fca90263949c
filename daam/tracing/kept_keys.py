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
    """Layers that were worked off together. Attributes: keys: as `operand_of_keys` gives them."""

    layers: tuple[str, ...]
    keys: Tensor


class KeptKey:
    """One layer's, at its place in a group."""

    __slots__ = ("group", "place")

    def __init__(self, group: _Group, place: int):
        self.group, self.place = group, place

    def key(self) -> Tensor:
        """As `operand_of_keys` gives it for this layer alone, as a view."""
        matrices = self.group.keys.shape[0] // len(self.group.layers)
        return self.group.keys.narrow(0, self.place * matrices, matrices)


class _OfRows:
    """Those of the layers that ran with the same rows.

    Attributes: weights: give what the layers make their keys with now; made_with: what they had been made with.
    """

    __slots__ = ("keys", "made_with", "weights")

    def __init__(self) -> None:
        self.keys: dict[str, KeptKey] = {}
        self.weights: list[Weights] = []
        self.made_with = Unchanged(())

    def are_unchanged(self) -> bool:
        return not self.keys or self.made_with.is_of([each for given in self.weights for each in given() or ()])


class KeptKeys:
    """Those of one generation; all are let go when the model is given another text, or some layer other weights.

    That is looked at once, when a call begins: a layer by itself would take ten times as long to see.
    """

    def __init__(self) -> None:
        self.release()

    def release(self) -> None:
        """Lets go of all."""
        self._given: Unchanged | None = None
        self._of_rows: dict[object, _OfRows] = {}
        self._kept = _OfRows()

    def begin_call(self, rows: object, given: Tensor | None) -> None:
        """Args: rows: stands for those that are wanted; given: what the model is given as the text."""
        if self._given is None or given is None or not self._given.is_of((given,)):
            self.release()
            self._given = None if given is None else Unchanged((given,))
        if rows not in self._of_rows:
            self._of_rows[rows] = _OfRows()
        self._kept = self._of_rows[rows]
        if not self._kept.are_unchanged():
            self._kept = _OfRows()
            self._of_rows = {rows: self._kept}

    def again(self, layer: str) -> KeptKey | None:
        """A layer's in this call; None where nothing was kept of it."""
        return self._kept.keys.get(layer)

    def keep(self, weights: Mapping[str, Weights], keys: Tensor) -> None:
        """Keeps what layers that were worked off together had, where it is known what they made it with.

        Args:
            weights: of each layer, in their order.
            keys: as `operand_of_keys` gives them; they are copied.
        """
        if self._held_bytes() + keys.nbytes > KEPT_BYTES:
            return
        made_with: list[Tensor] = []
        for given in weights.values():
            found = given()
            if not found:
                return
            made_with += found
        group = _Group(tuple(weights), keys.clone())
        self._kept.made_with = self._kept.made_with.extended(made_with)
        self._kept.weights += weights.values()
        self._kept.keys.update((layer, KeptKey(group, place)) for place, layer in enumerate(weights))

    def of_layers(self, layers: tuple[str, ...], kept: Sequence[KeptKey]) -> Tensor:
        """The keys of some layers, as `operand_of_keys` gives them.

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
        groups = {kept.group: kept.group.keys.nbytes for each in self._of_rows.values() for kept in each.keys.values()}
        return sum(groups.values())
