"""Lays a heat map over a picture, and draws masks. Knows nothing of words, captions or files."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daam.errors import SettingError, ShapeError
from daam.pictures.blends import opacity_levels
from daam.pictures.colormaps import colorize
from daam.pictures.convert import Picture, to_rgb_array, to_rgb_image

LONGEST_SIDE = 16_000
"""No picture is scaled beyond this many pixels a side; WebP ends at 16,383."""


def overlay(
    picture: Picture, heat_map: NDArray[Any], *, opacity: float = 0.5, colormap: str = "turbo", blend: str = "even"
) -> Image.Image:
    """The picture with the coloured heat map blended over it.

    >>> black, heat_map = np.zeros((2, 2, 3), np.uint8), np.array([[0.0, 1.0]])
    >>> drawn = overlay(black, heat_map, opacity=1, colormap="gray")
    >>> drawn.size, drawn.getpixel((0, 0)), drawn.getpixel((1, 0))
    ((2, 2), (0, 0, 0), (255, 255, 255))

    Args:
        picture: image of any mode, or uint8 [height, width, 3].
        heat_map: [map height, map width], 0..1 (clipped, NaN counts as 0); stretched to the picture's size.
        opacity: 0..1; 0 gives the picture's own pixels, 1 the map alone.
        colormap: any name that matplotlib knows.
        blend: a name of `daam.pictures.blends.BLENDS`: "even" covers all alike, "heat" what is hot.

    Returns:
        An RGB image of the picture's size.

    Raises:
        SettingError: `opacity` out of range, no such colormap or blend.
        ShapeError: the picture or the map is empty or has the wrong number of dimensions.
    """
    levels = opacity_levels(blend, opacity)
    pixels = to_rgb_array(picture)
    height, width = pixels.shape[:2]
    heat = resize_heat_map(heat_map, height, width)
    colours = colorize(heat, colormap)
    if blend != "even":
        alpha = levels[np.minimum((heat * 256).astype(np.int32), 255)][..., None]
        mixed = pixels + alpha * (colours.astype(np.float32) - pixels)
        return Image.fromarray((mixed + 0.5).astype(np.uint8))
    return Image.fromarray(cv2.addWeighted(colours, opacity, pixels, 1 - opacity, 0).astype(np.uint8, copy=False))


def resize_heat_map(heat_map: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """The map at another size: cubic when it grows, area means when it shrinks.

    Args:
        heat_map: [map height, map width], 0..1 (clipped, NaN counts as 0).

    Returns:
        float32 [height, width], 0..1; what cubic overshoots is clipped.

    Raises:
        ShapeError: the map is empty or has not two dimensions.
    """
    heat_map = np.asarray(heat_map)
    if heat_map.ndim != 2 or 0 in heat_map.shape:
        raise ShapeError(f"expected a heat map [height, width] of at least one number, got {list(heat_map.shape)}")
    clean = np.clip(np.nan_to_num(heat_map.astype(np.float32), nan=0.0), 0, 1)
    shrinks = height < clean.shape[0] and width < clean.shape[1]
    resized = cv2.resize(clean, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(np.clip(resized, 0, 1, out=resized), np.float32)


def mask_image(mask: NDArray[np.bool_]) -> Image.Image:
    """A mask as inpainting wants it: mode L, 255 where `mask` [height, width] is true, else 0.

    Raises:
        ShapeError: not a boolean array of two dimensions, or an empty one.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.ndim != 2 or 0 in mask.shape:
        raise ShapeError(f"expected a mask of bool [height, width], got {mask.dtype} {list(mask.shape)}")
    return Image.fromarray(mask.astype(np.uint8) * 255)


def scale_picture(image: Image.Image, factor: float) -> Image.Image:
    """The picture `factor` times as wide and high, at least one pixel a side; RGB.

    Raises:
        SettingError: `factor` is not above 0, or a side would pass `LONGEST_SIDE`.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise SettingError(f"expected a scale above 0, got {factor}")
    image = to_rgb_image(image)
    width, height = (max(1, round(side * factor)) for side in image.size)
    if max(width, height) > LONGEST_SIDE:
        raise SettingError(f"scale {factor} makes a picture of {height}x{width}; the longest side is {LONGEST_SIDE}")
    return image.copy() if factor == 1 else image.resize((width, height), Image.Resampling.LANCZOS)
