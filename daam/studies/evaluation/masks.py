"""Masks on the disc and in memory, and what of two masks is common. Knows no word and no heat map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daam.errors import RecordError
from daam.extras import need
from daam.results.record_check import MOST_PIXELS
from daam.results.whole_files import whole_file

Mask = NDArray[np.bool_]


def read_mask(path: Path) -> tuple[Mask, str | None]:
    """A mask file [height, width], and what to say where it is not of the expected kind, RGBA with mask = alpha > 0.

    Raises:
        RecordError: it is no picture, or too large.
    """
    image = _open(path)
    if image.mode in ("RGBA", "LA"):
        return np.asarray(image.getchannel("A")) > 0, None
    if "transparency" in image.info:
        return np.asarray(image.convert("RGBA").getchannel("A")) > 0, "masks with a palette: opaque is the mask"
    if image.mode == "1":
        return np.asarray(image), "masks without alpha: white is the mask"
    return np.asarray(image.convert("L")) > 127, "masks without alpha: the brighter half is the mask"


def read_labels(path: Path) -> NDArray[np.int64]:
    """A composite: [height, width], the number of each pixel's label; 0 is none.

    Raises:
        RecordError: it is no picture of one number for each pixel.
    """
    image = _open(path)
    if image.mode not in ("L", "P", "I", "I;16", "1"):
        raise RecordError(f"{path}: expected a composite with one number for each pixel, got one of mode {image.mode}")
    return np.asarray(image).astype(np.int64)


def write_mask(path: Path, mask: Mask) -> None:
    """Writes a mask as white on transparent."""
    pixels = np.repeat(mask[..., None].astype(np.uint8) * 255, 4, axis=2)
    with whole_file(path) as draft:
        Image.fromarray(pixels).save(draft, "PNG")


def resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask at another (height, width): of each pixel the nearest one."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0)


class Encoded:
    """A mask in COCO's run-length encoding, by pycocotools."""

    def __init__(self, mask: Mask):
        self._tools = need("pycocotools.mask", "daam evaluate")
        self._runs: Any = self._tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        self._size = mask.size

    @property
    def share(self) -> float:
        """Of the picture, 0..1."""
        return float(self._tools.area(self._runs)) / self._size

    def iou(self, other: Encoded) -> float:
        """Intersection over union, 0..1; 0 where both are empty."""
        return float(self._tools.iou([self._runs], [other._runs], [0])[0, 0])


def _open(path: Path) -> Image.Image:
    """Only PNG: a stranger's file may be of a kind for which Pillow starts another program, as EPS is."""
    try:
        image = Image.open(path, formats=["PNG"])
        if image.width * image.height <= MOST_PIXELS:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RecordError(f"{path} is no PNG that can be read: {error}") from error
    if image.width * image.height > MOST_PIXELS:
        raise RecordError(f"{path}: expected at most {MOST_PIXELS} pixels, got {image.width}x{image.height}")
    return image
