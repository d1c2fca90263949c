"""Ways to read a trace: the same sums, made into other maps. One function and one entry of `READINGS` for each.

Whatever the reading, statistics of strength are those of the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from daam.errors import NotKeptError, SettingError
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import ASKED, BY_THE_WAY, Budget
from daam.tracing.text_maps import LayerMaps, TextMaps

OUTPUTS = "outputs"
"""How a trace is asked to keep what output maps need."""
REFINED_LAYER = "refined"
"""Stands in the place of the layers' names for maps that are made from all of them."""


@dataclass(frozen=True)
class Reading:
    """One way to read a trace.

    Attributes:
        read: a text and the chosen layers' maps [column, height, width] give maps of the same columns.
        threshold: share of its maximum from which such a map covers a pixel, unless another is asked for.
        takes_parts: whether a part of the layers, heads or steps can be read this way; takes_layers: of the layers.
        needs: of the axes that a trace keeps, the one without which it cannot be read this way.
        help: what it is, in a few words.
        note: what stands beside such a map, in one or two words; empty where it needs none.
        remark: what whoever looks at such a map should know, as a sentence; empty where there is nothing.
    """

    read: Callable[[TextMaps, LayerMaps], LayerMaps]
    threshold: float
    help: str
    takes_parts: bool = True
    needs: str | None = None
    note: str = ""
    remark: str = ""
    takes_layers: bool = False


def plain(text: TextMaps, maps: LayerMaps) -> LayerMaps:
    """As the paper has it: all layers as they are."""
    return maps


def balanced(text: TextMaps, maps: LayerMaps) -> LayerMaps:
    """Each layer divided by its mean, so that all count alike; a word keeps the attention that it has."""
    means = {layer: kept.mean(dim=(-2, -1), keepdim=True) for layer, kept in maps.items()}
    whole = torch.stack([*means.values()]).mean(dim=0) if means else 0
    tiny = torch.finfo(torch.float32).tiny
    return {layer: kept / means[layer].clamp(min=tiny) * whole for layer, kept in maps.items()}


def refined(text: TextMaps, maps: LayerMaps) -> LayerMaps:
    """Carried along the model's own self-attention (`daam.tracing.refining`); words that name nothing stay as they are.

    The refined maps are a layer of their own, in which the other columns are zero.
    """
    if text.refined is None or not maps:
        return maps
    every = list(text.text.columns)
    places = [every.index(column) for column in text.text.refined_columns]
    whole = torch.zeros(len(every), *text.refined.shape[-2:])
    whole[places] = text.refined
    rest = torch.ones(len(every), 1, 1)
    rest[places] = 0
    return {REFINED_LAYER: whole, **{layer: kept * rest for layer, kept in maps.items()}}


def output(text: TextMaps, maps: LayerMaps) -> LayerMaps:
    """In the attention's output space (`daam.tracing.outputs`); the tokens around the words have no map there."""
    every = list(text.text.columns)
    found = {}
    for layer in maps:
        if layer in text.outputs:
            own = text.outputs[layer]
            found[layer] = torch.zeros(len(every), *own.shape[-2:])
            for word, columns in zip(own, text.text.output_words):
                found[layer][[every.index(column) for column in columns]] = word
    return found


READINGS: dict[str, Reading] = {
    "plain": Reading(plain, 0.4, "the paper's: attention added up over all layers"),
    "refined": Reading(
        refined,
        0.5,
        "an estimate of the word's region that follows outlines",
        takes_parts=False,
        needs="refined",
        note="estimated region",
        remark="Refined maps are an estimate of each word's region, carried along the model's self-attention; how "
        "strong a word is, is measured on the plain ones.",
    ),
    "output": Reading(
        output,
        0.5,
        "how like each place is to each word in what attention gives, where models have joint attention",
        takes_parts=False,
        takes_layers=True,
        needs=OUTPUTS,
        note="output space",
        remark="Output maps compare the image with each word in the attention's output space, word against word "
        "(after ConceptAttention); how strong a word is, is measured on the plain ones.",
    ),
    "balanced": Reading(balanced, 0.4, "each layer divided by its mean", note="layers alike"),
}
"""Name to how a trace is read; adding one is one entry here."""


REFINED: dict[str, Budget] = {"refined": ASKED, "refined if cheap": BY_THE_WAY}
"""How a trace is asked to keep what refined maps need, and what they may cost then."""


def kept_for(reading: str) -> str:
    """What to keep where a reading is shown first, and the viewer may switch to another: a name of `REFINED`."""
    return "refined" if READINGS[reading].needs == "refined" else "refined if cheap"


def reading_of(name: str) -> Reading:
    """The reading of that name.

    Raises:
        SettingError: there is no such reading.
    """
    if name not in READINGS:
        raise SettingError(f"reading: expected {', '.join(READINGS)}, got {name!r}")
    return READINGS[name]


def remark_of(name: str, trace: ImageTrace) -> str:
    """What to know of a picture's maps in that reading, as a sentence; empty where there is nothing."""
    reading = reading_of(name)
    if reading.needs is None or reading.needs in trace.keep:
        return reading.remark
    reason = _why_missing(reading, trace) or "they were not kept"
    return f"There are no {name} maps, the plain ones are shown: {reason}."


def _why_missing(reading: Reading, trace: ImageTrace) -> str:
    return trace.not_refined if reading.needs == "refined" else trace.no_outputs if reading.needs == OUTPUTS else ""


def check_reading(name: str, trace: ImageTrace, *, is_part: bool = False) -> None:
    """
    Args:
        is_part: whether it is to be read from a part of the layers, heads or steps.

    Raises:
        SettingError: there is no such reading, or it does not go with a part of the trace.
        NotKeptError: the trace did not keep what it needs.
    """
    reading = reading_of(name)
    if reading.needs is not None and reading.needs not in trace.keep:
        if _why_missing(reading, trace):
            raise NotKeptError(f"there are no {name} maps: {_why_missing(reading, trace)}")
        raise NotKeptError(f'{name} maps were not kept: trace with `daam.trace(pipe, keep="{reading.needs}")`')
    if is_part and not reading.takes_parts:
        raise SettingError(
            f"{name} maps are made from the whole trace; choose layers, resolutions, heads or steps from the plain ones"
        )
