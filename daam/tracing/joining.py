"""Joins the maps of one text that several models made: a refiner, say, that takes over in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daam.tracing.accumulator import TextMaps, layer_of_size
from daam.tracing.plan import TextKey


def join_texts(per_model: Sequence[dict[TextKey, TextMaps]]) -> dict[TextKey, TextMaps]:
    """The maps of all models, as if their layers were those of one; only sums, without steps and heads.

    Layers of the same name and size are added up; a layer of another size gets its size behind its name.
    """
    joined: dict[TextKey, TextMaps] = {}
    for texts in per_model:
        for key, maps in texts.items():
            joined[key] = _added(joined[key], maps) if key in joined else maps
    return joined


def _added(total: TextMaps, maps: TextMaps) -> TextMaps:
    sums, counts, heads = dict(total.sums), dict(total.counts), dict(total.heads)
    for layer, summed in maps.sums.items():
        name = layer_of_size(layer, summed, sums)
        sums[name] = sums[name] + summed if name in sums else summed
        counts[name] = counts.get(name, 0) + maps.counts[layer]
        heads[name] = maps.heads[layer]
    return replace(total, sums=sums, counts=counts, heads=heads, details={}, steps=[])
