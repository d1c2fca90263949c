"""Joins the maps of one text that several models made: a refiner, say, that takes over in the middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from daam.tracing.accumulator import TextMaps, layer_of_size
from daam.tracing.plan import TextKey


def join_texts(per_model: Sequence[dict[TextKey, TextMaps]]) -> dict[TextKey, TextMaps]:
    """The maps of all models, as if their layers were those of one.

    Layers of the same name and size are added up; a layer of another size gets its size behind its name.
    """
    joined: dict[TextKey, TextMaps] = {}
    for texts in per_model:
        for key, maps in texts.items():
            joined[key] = _added(joined[key], maps) if key in joined else maps
    return joined


def _added(total: TextMaps, maps: TextMaps) -> TextMaps:
    sums, counts, heads, details = dict(total.sums), dict(total.counts), dict(total.heads), dict(total.details)
    for layer, summed in maps.sums.items():
        name = layer_of_size(layer, summed, sums)
        sums[name] = sums[name] + summed if name in sums else summed
        counts[name] = counts.get(name, 0) + maps.counts[layer]
        heads[name] = maps.heads[layer]
        if layer in maps.details:
            details[name] = _joined_steps(details.get(name, {}), maps.details[layer])
    return replace(total, sums=sums, counts=counts, heads=heads, details=details)


def _joined_steps(first: Mapping[int, Tensor], second: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Steps of both; what both have is added up over steps, or left out where the models have other heads."""
    joined = {**first, **second}
    for step in first.keys() & second.keys():
        if first[step].shape == second[step].shape:
            joined[step] = first[step] + second[step]
        else:
            del joined[step]
    return joined
