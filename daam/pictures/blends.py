"""How opaque a heat map lies over its picture. The same as `BLENDS` in javascript/attention_heatmap_maps.js."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daam.errors import SettingError

Opacities = NDArray[np.float32]


def by_heat(heat: Opacities, opacity: float) -> Opacities:
    """More where there is more heat, so that the picture stays recognisable where a word did nothing."""
    return np.asarray(opacity ** (5 * 0.05**heat), np.float32)


def even(heat: Opacities, opacity: float) -> Opacities:
    """The same everywhere."""
    return np.full_like(heat, opacity)


BLENDS: dict[str, Callable[[Opacities, float], Opacities]] = {"heat": by_heat, "even": even}
"""Each from heat 0..1 and the chosen opacity 0..1 to an opacity 0..1: always 0 at 0, and 1 at 1."""


def opacity_levels(blend: str, opacity: float) -> Opacities:
    """The opacity at each of 256 levels of heat, float32 [256].

    Raises:
        SettingError: there is no such blend, or `opacity` is not within 0..1.
    """
    if blend not in BLENDS:
        raise SettingError(f"expected a blend of {', '.join(BLENDS)}, got {blend!r}")
    if not 0 <= opacity <= 1:
        raise SettingError(f"expected an opacity from 0 to 1, got {opacity}")
    return BLENDS[blend](np.linspace(0, 1, 256, dtype=np.float32), opacity)
