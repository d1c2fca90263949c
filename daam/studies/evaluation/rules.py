"""How a heat map becomes a mask. One function and one entry for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daam.errors import SettingError
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import READINGS
from daam.studies.evaluation.masks import Mask


def by_maximum(values: NDArray[np.float32], threshold: float, unit: float) -> Mask:
    """From `threshold` times its maximum, as in the paper."""
    highest = values.max()
    return np.zeros(values.shape, bool) if highest <= 0 else np.asarray(values >= threshold * highest)


def by_range(values: NDArray[np.float32], threshold: float, unit: float) -> Mask:
    """From `threshold` of the way from its minimum to its maximum, as in the authors' code."""
    lowest, highest = float(values.min()), float(values.max())
    return np.asarray(values > lowest + threshold * (highest - lowest))


def by_value(values: NDArray[np.float32], threshold: float, unit: float) -> Mask:
    """From `threshold` itself, of probabilities averaged over layers and heads and summed over steps."""
    return np.asarray(values > threshold * unit)


MASK_RULES: dict[str, Callable[[NDArray[np.float32], float, float], Mask]] = {
    "max": by_maximum, "minmax": by_range, "absolute": by_value,
}  # fmt: skip
"""Of values [height, width], a threshold, and what a value of 1 would be for `absolute`."""


def mask_by(rule: str, threshold: float, maps: HeatMaps, values: NDArray[np.float32]) -> Mask:
    """The mask of one map. Args: rule: a name of `MASK_RULES`; maps: where the values, [height, width], are from."""
    return MASK_RULES[rule](values, threshold, unit_of(maps))


def check_rule(rule: str, thresholds: Sequence[float], kind: str) -> None:
    """
    Raises:
        SettingError: there is no such rule or map, or a threshold does not fit.
    """
    if rule not in MASK_RULES:
        raise SettingError(f"mask rule: expected {', '.join(MASK_RULES)}, got {rule!r}")
    if kind not in READINGS:
        raise SettingError(f"map: expected {', '.join(READINGS)}, got {kind!r}")
    for threshold in thresholds:
        if not 0 <= threshold <= (math.inf if rule == "absolute" else 1):
            raise SettingError(f"thresholds: expected 0..1, got {threshold:g}")
    if not thresholds:
        raise SettingError("thresholds: expected at least one, got none")


def unit_of(maps: HeatMaps) -> float:
    """What a map's value is where every layer and head gives one step all of its attention.

    A map is a sum over layers, heads and steps; divided by this it is averaged over layers and heads, and summed over
    steps, as the authors' maps are.
    """
    heads = [text.heads.values() for key, text in maps.trace.texts.items() if key.side == maps.side]
    return float(max((sum(numbers) for numbers in heads), default=0) or 1)
