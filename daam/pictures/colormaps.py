"""Turns numbers from 0 to 1 into colours by matplotlib's colormaps. Knows nothing of pictures or sizes."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from daam.errors import SettingError, ShapeError


def colormap_names() -> list[str]:
    """Every name that `colorize` takes, in alphabetical order, capitals and small letters alike."""
    return sorted(matplotlib.colormaps, key=str.casefold)


def colorize(values: NDArray[Any], colormap: str = "turbo") -> NDArray[np.uint8]:
    """Gives each value the colour that matplotlib gives it.

    Colours are looked up in a table of 256; of the few colormaps with more (twilight has 510) every other is used.

    Args:
        values: [height, width], any real type. Clipped to 0..1; NaN counts as 0.
        colormap: one of `colormap_names()`.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        SettingError: no colormap has this name; the text has names that look alike.
        ShapeError: `values` is empty or has not two dimensions.
    """
    values = np.asarray(values)
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"expected values [height, width] of at least one number, got {list(values.shape)}")
    return np.asarray(cv2.applyColorMap(_levels(values), lookup_table(colormap)), np.uint8)


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0..255; as in matplotlib each level is 1/256 wide, and 1.0 belongs to the last."""
    scaled = values.astype(np.float32)
    np.fmax(scaled, 0, out=scaled)  # of NaN and 0, fmax takes 0
    np.fmin(scaled, 255 / 256, out=scaled)
    scaled *= 256
    return scaled.astype(np.uint8)


@lru_cache(maxsize=32)
def lookup_table(colormap: str) -> NDArray[np.uint8]:
    """uint8 [256, 1, 3], RGB, read-only: the colour at the middle of each of 256 levels. Raises SettingError."""
    if colormap not in matplotlib.colormaps:
        raise SettingError(_unknown_colormap(colormap))
    middles = (np.arange(256) + 0.5) / 256
    table = np.asarray(matplotlib.colormaps[colormap](middles, bytes=True), np.uint8)
    table = np.ascontiguousarray(table[:, None, :3])
    table.flags.writeable = False
    return table


def _unknown_colormap(colormap: object) -> str:
    by_small_letters = {name.casefold(): name for name in colormap_names()}
    close = get_close_matches(str(colormap).casefold(), by_small_letters, n=3)
    likely = [by_small_letters[name] for name in close] or ["turbo", "viridis", "jet"]
    return f"expected the name of a matplotlib colormap, got {colormap!r}; try {', '.join(likely)}"
