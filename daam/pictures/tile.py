"""The tile of one term: its overlay, or the greyed picture where it has no map. Knows no prompt and no grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daam.pictures.captions import STRIP_COLOUR, add_caption
from daam.pictures.convert import Picture, to_rgb_image
from daam.pictures.overlay import overlay


def term_tile(
    picture: Picture,
    heat_map: NDArray[np.floating[Any]] | None,
    caption: str,
    *,
    opacity: float = 0.5,
    colormap: str = "turbo",
    blend: str = "even",
    show_caption: bool = True,
    reason: str | None = None,
) -> Image.Image:
    """One tile of the grid, with its caption under it.

    Args:
        picture: image of any mode, or uint8 [height, width, 3].
        heat_map: [map height, map width], 0..1; None greys the picture instead.
        caption: any text, most often the term.
        opacity, colormap, blend: as in `overlay`.
        show_caption: False leaves the strip out, and with it the reason.
        reason: why there is no map (or what to know about it), small and grey under the caption.

    Returns:
        An RGB image as wide as the picture.

    Raises:
        SettingError, ShapeError: as `overlay` does.
    """
    if heat_map is None:
        tile = _greyed(picture)
        reason = reason or "no heat map"
    else:
        tile = overlay(picture, heat_map, opacity=opacity, colormap=colormap, blend=blend)
    return add_caption(tile, caption, note=reason) if show_caption else tile


def _greyed(picture: Picture) -> Image.Image:
    grey = to_rgb_image(picture).convert("L").convert("RGB")
    return Image.blend(grey, Image.new("RGB", grey.size, STRIP_COLOUR), 0.5)
