"""How heat maps become colours: three ways to bring their values to 0..1. One function and one entry for each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daam.errors import SettingError

Maps = NDArray[np.float32]


def shared(maps: Maps, all_words: Maps) -> Maps:
    """One scale for all maps, from the lowest value of any to the highest of any: a weak word looks weak."""
    return _stretch(maps, maps.min(), maps.max())


def each(maps: Maps, all_words: Maps) -> Maps:
    """Every map from its own lowest to its own highest value: shows where, hides how much."""
    lowest, highest = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return _stretch(maps, lowest, highest)


def share(maps: Maps, all_words: Maps) -> Maps:
    """How the prompt's words divide each pixel between them: over all words it sums to 1."""
    shares: Maps = maps / np.maximum(all_words, np.finfo(np.float32).tiny)
    return shares


def _stretch(maps: Maps, lowest: np.ndarray | np.floating, highest: np.ndarray | np.floating) -> Maps:
    width = np.asarray(highest - lowest)
    return np.where(width > 0, (maps - lowest) / np.where(width > 0, width, 1), 0).astype(np.float32)


SCALES: dict[str, Callable[[Maps, Maps], Maps]] = {"shared": shared, "each": each, "share": share}
"""Name to function: maps [term, height, width] and the sum over every word [height, width] give 0..1."""


def apply_scale(name: str, maps: Maps, all_words: Maps) -> Maps:
    """The maps by the scale of that name.

    >>> maps = np.array([[[0, 4]], [[0, 1]]], np.float32)  # two maps of one row and two columns
    >>> apply_scale("shared", maps, maps.sum(axis=0)).tolist()
    [[[0.0, 1.0]], [[0.0, 0.25]]]
    >>> apply_scale("each", maps, maps.sum(axis=0)).tolist()
    [[[0.0, 1.0]], [[0.0, 1.0]]]
    >>> apply_scale("share", maps, maps.sum(axis=0)).sum(axis=0).tolist()
    [[0.0, 1.0]]

    Raises:
        SettingError: there is no such scale.
    """
    if name not in SCALES:
        raise SettingError(f"scale: expected {', '.join(SCALES)}, got {name!r}")
    return np.clip(SCALES[name](maps, all_words), 0, 1)
