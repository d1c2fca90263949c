"""Joins maps of one text that were kept apart: of several models, say, where a refiner takes over in the middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from daam.tracing.plan import TextKey
from daam.tracing.text_maps import TextMaps, layer_of_size


def join_texts(kept: Sequence[dict[TextKey, TextMaps]]) -> dict[TextKey, TextMaps]:
    """All of them as one, as if their layers were those of one model.

    Layers of the same name and size are added up; a layer of another size gets its size behind its name.
    """
    joined: dict[TextKey, TextMaps] = {}
    for texts in kept:
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
    outputs = dict(total.outputs)
    for layer, similar in maps.outputs.items():
        name = layer_of_size(layer, similar, outputs)
        outputs[name] = outputs[name] + similar if name in outputs else similar
    return replace(total, outputs=outputs, sums=sums, counts=counts, heads=heads, details=details)


def _joined_steps(first: Mapping[int, Tensor], second: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Steps of both; what both have is added up over steps, or left out where the models have other heads."""
    joined = {**first, **second}
    for step in first.keys() & second.keys():
        if first[step].shape == second[step].shape:
            joined[step] = first[step] + second[step]
        else:
            del joined[step]
    return joined
