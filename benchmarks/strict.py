"""Whether a picture shows what was asked for and nothing else. Knows colours and regions, no model and no map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
SPECK = 0.004
"""Regions smaller than this share of the picture are specks of the decoder, not a second object."""
GROUND = 0.9
"""Least share of what is no object that must be near to the ground's colour."""
FARTHEST_GROUND = 90.0
EDGE = 2
"""Pixels around an object where colours mix."""
AREA = (0.01, 0.4)
APART = 4
"""Objects closer than this many pixels touch."""


def is_strictly_right(
    picture: NDArray[np.uint8], masks: Sequence[Mask], ground: Sequence[int], shapes_are_right: bool
) -> bool:
    """Each object is one region of a plausible size in its shape, and all around them is the ground that was asked for.

    Args:
        picture: [height, width, 3].
        masks: the region of each object's colour, [height, width] each.
        ground: the colour that was asked for, red, green and blue.
        shapes_are_right: whether the shape of every region was recognised as the one asked for.
    """
    return shapes_are_right and all(map(is_one_region, masks)) and ground_share(picture, masks, ground) >= GROUND


def is_one_region(mask: Mask) -> bool:
    """One connected region and no double of it; noise, which is many, is none."""
    _, _, numbers, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = numbers[1:, cv2.CC_STAT_AREA] / mask.size
    return int((areas > SPECK).sum()) == 1 and AREA[0] < mask.mean() < AREA[1]


def ground_share(picture: NDArray[np.uint8], masks: Sequence[Mask], ground: Sequence[int]) -> float:
    """Which part of what is no object, and not at the edge of one, is near to the ground's colour."""
    objects = np.any(masks, axis=0).astype(np.uint8)
    rest = cv2.dilate(objects, np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)) == 0
    near = np.linalg.norm(picture.astype(np.float64) - np.array(ground), axis=-1) < FARTHEST_GROUND
    return float(near[rest].mean()) if rest.any() else 0.0


def touch(first: Mask, second: Mask) -> bool:
    """Whether two regions lie so close that a colour could leak from one into the other."""
    reach = cv2.dilate(first.astype(np.uint8), np.ones((2 * APART + 1, 2 * APART + 1), np.uint8)) > 0
    return bool((reach & second).any())
