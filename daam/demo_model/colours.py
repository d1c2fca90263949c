"""The colours that the embedded model was trained to draw, by their words."""

from __future__ import annotations

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
