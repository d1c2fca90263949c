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
    """One layer's. Attributes: key: its part of its group's keys."""

    __slots__ = ("group", "place", "weights")

    def __init__(self, group: _Group, place: int, weights: Unchanged):
        """Args: place: of the layer in its group; weights: what the key was made with."""
        self.group, self.place, self.weights = group, place, weights

    @property
    def key(self) -> Tensor:
        return self.group.keys.tensor_split(len(self.group.layers))[self.place]


class KeptKeys:
    """Those of one generation; all of them are let go when the model is given another text."""

    def __init__(self) -> None:
        self.release()

    def release(self) -> None:
        """Lets go of all."""
        self._given: Unchanged | None = None
        self._of_rows: dict[object, dict[str, KeptKey]] = {}
        self._kept: dict[str, KeptKey] = {}
        self._bytes = 0

    def begin_call(self, rows: object, given: Tensor | None) -> None:
        """Args: rows: stands for those that are wanted; given: what the model is given as the text."""
        if self._given is None or given is None or not self._given.is_of((given,)):
            self.release()
            self._given = None if given is None else Unchanged((given,))
        self._kept = self._of_rows.setdefault(rows, {})

    def again(self, layer: str, weights: Sequence[Tensor] | None) -> KeptKey | None:
        """A layer's; None where nothing was kept of it, or where its key has to be made anew.

        Args: weights: what keys are made with now.
        """
        kept = self._kept.get(layer)
        return kept if kept is not None and kept.weights.is_of(weights) else None

    def keep(self, weights: Mapping[str, Weights], keys: Tensor) -> None:
        """Keeps what layers that were worked off together had, where it is known what they made it with.

        Args:
            weights: of each layer, in their order.
            keys: as `Layout.key` gives them; it is copied.
        """
        if not self._kept.keys().isdisjoint(weights):  # the weights of some layer have changed; the next call keeps all
            self._of_rows.clear()
            self._kept, self._bytes = {}, 0
            return
        if self._bytes + keys.nbytes > KEPT_BYTES:
            return
        made_with: dict[str, Unchanged] = {}
        for layer, given in weights.items():
            found = given()
            if not found:
                return
            made_with[layer] = Unchanged(found)
        self._bytes += keys.nbytes
        group = _Group(tuple(weights), keys.clone())
        self._kept.update({layer: KeptKey(group, place, of) for place, (layer, of) in enumerate(made_with.items())})


def of_layers(layers: tuple[str, ...], kept: Sequence[KeptKey]) -> Tensor:
    """The keys of some layers, as `Layout.key` gives them."""
    group = kept[0].group
    if layers == group.layers and all(each.group is group for each in kept):
        return group.keys
    return torch.cat([each.key for each in kept])
