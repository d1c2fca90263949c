"""Joins the maps of one text that several models made: a refiner, say, that takes over in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daam.tracing.accumulator import TextMaps
from daam.tracing.plan import TextKey


def join_texts(per_model: Sequence[dict[TextKey, TextMaps]]) -> dict[TextKey, TextMaps]:
    """The maps of all models, as if their layers were those of one; only sums, without steps and heads.

    Layers of the same name and size are added up; a layer of another size gets the model's number behind its name.
    """
    joined: dict[TextKey, TextMaps] = {}
    for number, texts in enumerate(per_model, start=1):
        for key, maps in texts.items():
            joined[key] = _added(joined[key], maps, number) if key in joined else maps
    return joined


def _added(total: TextMaps, maps: TextMaps, number: int) -> TextMaps:
    sums, counts, heads = dict(total.sums), dict(total.counts), dict(total.heads)
    for layer, summed in maps.sums.items():
        if layer not in sums:
            name = layer
        elif sums[layer].shape == summed.shape:
            sums[layer] = sums[layer] + summed
            counts[layer] += maps.counts[layer]
            continue
        else:
            name = f"{layer}@{number}"
        sums[name], counts[name], heads[name] = summed, maps.counts[layer], maps.heads[layer]
    return replace(total, sums=sums, counts=counts, heads=heads, details={}, steps=[])
