"""Brings any picture to RGB, eight bits a channel. Knows nothing of heat maps or captions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daam.errors import ShapeError

Picture = Image.Image | NDArray[np.uint8]


def to_rgb_image(picture: Picture) -> Image.Image:
    """The picture as an RGB image.

    Args:
        picture: an image of any mode (transparency is dropped, not blended), or uint8 [height, width, 3].

    Returns:
        An RGB image; the same object where it already was one, so do not draw on it.

    Raises:
        ShapeError: no picture, an empty one, or an array of another shape or type.
    """
    if isinstance(picture, Image.Image):
        if 0 in picture.size:
            raise ShapeError(f"expected a picture of at least one pixel, got {picture.height}x{picture.width}")
        return picture if picture.mode == "RGB" else _convert(picture)
    return Image.fromarray(_checked_array(picture))


def to_rgb_array(picture: Picture) -> NDArray[np.uint8]:
    """The picture as uint8 [height, width, 3]; do not write into it. Takes and raises what `to_rgb_image` does."""
    if isinstance(picture, Image.Image):
        return np.asarray(to_rgb_image(picture))
    return _checked_array(picture)


def _convert(image: Image.Image) -> Image.Image:
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ShapeError(f"a picture of mode {image.mode} cannot become RGB ({error}); convert it first") from error


def _checked_array(array: Any) -> NDArray[np.uint8]:
    if not isinstance(array, np.ndarray):
        raise ShapeError(f"expected a PIL image or a uint8 array [height, width, 3], got {type(array).__name__}")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ShapeError(f"expected a picture of uint8 [height, width, 3], got {array.dtype} {list(array.shape)}")
    return np.ascontiguousarray(array)
