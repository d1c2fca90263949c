"""The colours that the embedded model was trained to draw, by their words, and where they are in its pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RGB: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 35),
    "green": (40, 165, 60),
    "blue": (40, 80, 220),
    "yellow": (248, 215, 40),
    "orange": (245, 135, 25),
    "purple": (135, 50, 180),
    "pink": (250, 140, 185),
    "white": (248, 248, 248),
    "black": (22, 22, 24),
    "gray": (140, 140, 140),
    "brown": (125, 80, 45),
}
FARTHEST = 90.0
"""Largest distance in RGB from a colour that still counts as it."""
AREA = (0.004, 0.6)
"""Share of the picture that an object must cover to count as present."""


def colour_regions(picture: NDArray[np.uint8], colours: Sequence[str]) -> list[NDArray[np.bool_]]:
    """Of each colour where a picture [height, width, 3] is near it and nearer than to the others: [height, width]."""
    distances = np.linalg.norm(
        picture[:, :, None].astype(np.float64) - np.array([RGB[colour] for colour in colours]), axis=-1
    )
    nearest = distances.argmin(axis=-1)
    return [(nearest == number) & (distances[..., number] < FARTHEST) for number in range(len(colours))]


def is_present(region: NDArray[np.bool_]) -> bool:
    """Whether a colour covers as much of a picture as an object would."""
    return bool(AREA[0] < region.mean() < AREA[1])
