"""The colours that scenes are drawn in. Knows no shape and no caption."""

from __future__ import annotations

import random

from daam.demo_model.colours import RGB

__all__ = ["GROUNDS", "RGB", "SKIES", "Color", "distance", "jitter", "shade"]
Color = tuple[int, int, int]

GROUNDS: dict[str, Color] = {
    "grass": (95, 180, 70),
    "sand": (228, 200, 140),
    "snow": (238, 243, 248),
    "sea": (50, 120, 190),
}

SKIES: dict[str, Color] = {
    "day": (150, 205, 245),
    "night": (22, 26, 60),
    "sunset": (250, 170, 110),
}


def shade(color: Color, factor: float) -> Color:
    """Darker for a factor below 1, lighter above."""
    if factor <= 1:
        return _clip(*(value * factor for value in color))
    return _clip(*(255 - (255 - value) / factor for value in color))


def jitter(rng: random.Random, color: Color, amount: float) -> Color:
    """The colour moved by up to `amount` in each channel."""
    return _clip(*(value + rng.uniform(-amount, amount) for value in color))


def distance(first: str, second: str) -> int:
    """Sum of the channel differences of two named colours, 0..765."""
    return sum(abs(a - b) for a, b in zip(RGB[first], RGB[second]))


def _clip(red: float, green: float, blue: float) -> Color:
    return (_byte(red), _byte(green), _byte(blue))


def _byte(value: float) -> int:
    return int(max(0, min(255, value)))
