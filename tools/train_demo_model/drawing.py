"""Draws one object into a picture and into its mask at the same time.

Every shape is one function and one entry of `SHAPES` or `THINGS`. Knows no scene and no caption.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from .palette import Color, shade

Point = tuple[float, float]
GLASS: Color = (190, 225, 245)
WOOD: Color = (110, 70, 40)


class Pen:
    """Draws into a picture; what belongs to the object's outline goes into its mask too.

    Coordinates are relative to the object: (0, 0) is its centre and 1 its radius; x to the right, y down.
    """

    def __init__(self, picture: Image.Image, mask: Image.Image, center: Point, radius: float):
        self._picture = ImageDraw.Draw(picture)
        self._mask = ImageDraw.Draw(mask)
        self._center = center
        self._radius = radius

    def polygon(self, points: Sequence[Point], color: Color, *, in_mask: bool = True) -> None:
        placed = [self._place(point) for point in points]
        self._picture.polygon(placed, fill=color)
        if in_mask:
            self._mask.polygon(placed, fill=255)

    def ellipse(self, box: tuple[float, float, float, float], color: Color, *, in_mask: bool = True) -> None:
        placed = [*self._place(box[:2]), *self._place(box[2:])]
        self._picture.ellipse(placed, fill=color)
        if in_mask:
            self._mask.ellipse(placed, fill=255)

    def disc(self, x: float, y: float, radius: float, color: Color, *, in_mask: bool = True) -> None:
        self.ellipse((x - radius, y - radius, x + radius, y + radius), color, in_mask=in_mask)

    def rectangle(self, box: tuple[float, float, float, float], color: Color, *, in_mask: bool = True) -> None:
        left, top, right, bottom = box
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color, in_mask=in_mask)

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        placed = [self._place(point) for point in points]
        pixels = max(2, round(width * self._radius))
        self._picture.line(placed, fill=color, width=pixels)
        self._mask.line(placed, fill=255, width=pixels)

    def _place(self, point: Point) -> Point:
        return (self._center[0] + point[0] * self._radius, self._center[1] + point[1] * self._radius)


def _on_circle(angle: float, radius: float = 1.0) -> Point:
    return (radius * math.cos(angle), radius * math.sin(angle))


def circle(pen: Pen, color: Color) -> None:
    pen.disc(0, 0, 1, color)


def square(pen: Pen, color: Color) -> None:
    pen.rectangle((-0.86, -0.86, 0.86, 0.86), color)


def triangle(pen: Pen, color: Color) -> None:
    pen.polygon([(0, -1), (1.05, 0.85), (-1.05, 0.85)], color)


def star(pen: Pen, color: Color) -> None:
    turns = [math.pi * corner / 5 - math.pi / 2 for corner in range(10)]
    pen.polygon([_on_circle(turn, 0.45 if index % 2 else 1.12) for index, turn in enumerate(turns)], color)


def diamond(pen: Pen, color: Color) -> None:
    pen.polygon([(0, -1.1), (0.72, 0), (0, 1.1), (-0.72, 0)], color)


def cross(pen: Pen, color: Color) -> None:
    pen.rectangle((-0.32, -1, 0.32, 1), color)
    pen.rectangle((-1, -0.32, 1, 0.32), color)


def heart(pen: Pen, color: Color) -> None:
    curve = np.linspace(0, 2 * math.pi, 48)
    height = 13 * np.cos(curve) - 5 * np.cos(2 * curve) - 2 * np.cos(3 * curve) - np.cos(4 * curve)
    pen.polygon(list(zip((1.05 * np.sin(curve) ** 3).tolist(), (-0.067 * height).tolist())), color)


def ring(pen: Pen, color: Color) -> None:
    """The band alone is the object: its hole stays background, in the picture and in the mask."""
    pieces = 48
    for piece in range(pieces):
        first, last = 2 * math.pi * piece / pieces, 2 * math.pi * (piece + 1.3) / pieces
        pen.polygon([_on_circle(first), _on_circle(last), _on_circle(last, 0.55), _on_circle(first, 0.55)], color)


def sun(pen: Pen, color: Color) -> None:
    for ray in range(10):
        angle = 2 * math.pi * ray / 10
        pen.line([_on_circle(angle, 0.7), _on_circle(angle, 1.1)], color, 0.15)
    pen.disc(0, 0, 0.68, color)


def moon(pen: Pen, color: Color) -> None:
    outer = [(0.2 + 0.95 * math.cos(a), 0.95 * math.sin(a)) for a in np.linspace(0.35 * math.pi, 1.65 * math.pi, 24)]
    (last_x, last_y), (first_x, first_y) = outer[-1], outer[0]
    inner = [
        ((1 - part) * last_x + part * first_x - 0.75 * math.sin(math.pi * part), (1 - part) * last_y + part * first_y)
        for part in np.linspace(0, 1, 20)
    ]
    pen.polygon(outer + inner, color)


def cloud(pen: Pen, color: Color) -> None:
    for x, y, radius in ((-0.6, 0.1, 0.42), (-0.15, -0.18, 0.52), (0.35, -0.05, 0.45), (0.7, 0.15, 0.33)):
        pen.disc(x, y, radius, color)
    pen.rectangle((-0.6, 0.1, 0.7, 0.48), color)


def balloon(pen: Pen, color: Color) -> None:
    pen.line([(0, 0.5), (-0.08, 0.85), (0.06, 1.2)], (70, 70, 70), 0.06)
    pen.ellipse((-0.68, -1, 0.68, 0.55), color)
    pen.polygon([(-0.13, 0.68), (0.13, 0.68), (0, 0.5)], color)
    pen.ellipse((-0.4, -0.75, -0.12, -0.35), shade(color, 2.2), in_mask=False)


def tree(pen: Pen, color: Color) -> None:
    pen.rectangle((-0.15, 0.1, 0.15, 1), WOOD)
    for x, y, radius in ((0, -0.45, 0.55), (-0.38, -0.08, 0.42), (0.38, -0.08, 0.42)):
        pen.disc(x, y, radius, color)


def house(pen: Pen, color: Color) -> None:
    pen.rectangle((-0.75, -0.15, 0.75, 0.95), color)
    pen.polygon([(-0.98, -0.13), (0.98, -0.13), (0, -1)], (95, 55, 45))
    pen.rectangle((-0.17, 0.35, 0.17, 0.95), (70, 45, 35), in_mask=False)
    for x in (-0.48, 0.48):
        pen.rectangle((x - 0.16, 0.1, x + 0.16, 0.42), GLASS, in_mask=False)


def car(pen: Pen, color: Color) -> None:
    pen.polygon([(-0.6, -0.05), (-0.38, -0.5), (0.3, -0.5), (0.58, -0.05)], color)
    pen.polygon([(-0.44, -0.08), (-0.3, -0.38), (0.24, -0.38), (0.42, -0.08)], GLASS, in_mask=False)
    pen.rectangle((-1.02, -0.06, 1.02, 0.35), color)
    for x in (-0.55, 0.55):
        pen.disc(x, 0.36, 0.26, (35, 35, 38))
        pen.disc(x, 0.36, 0.11, (190, 190, 190), in_mask=False)


def cat(pen: Pen, color: Color) -> None:
    """A cat's face."""
    for side in (-1, 1):
        pen.polygon([(side * 0.85, -0.98), (side * 0.2, -0.55), (side * 0.8, -0.05)], color)
    pen.ellipse((-0.9, -0.65, 0.9, 0.85), color)
    eyes: Color = (30, 30, 30) if sum(color) > 150 else (235, 235, 120)
    for side in (-1, 1):
        pen.ellipse((side * 0.38 - 0.14, -0.2, side * 0.38 + 0.14, 0.12), eyes, in_mask=False)
    pen.polygon([(-0.12, 0.25), (0.12, 0.25), (0, 0.4)], (230, 120, 140), in_mask=False)


def flower(pen: Pen, color: Color) -> None:
    leaf: Color = (45, 130, 50)
    pen.line([(0, 0), (0, 1.1)], leaf, 0.14)
    pen.ellipse((0, 0.6, 0.45, 0.85), leaf)
    for petal in range(6):
        x, y = _on_circle(math.pi * petal / 3, 0.42)
        pen.disc(x, y - 0.3, 0.32, color)
    middle: Color = (120, 75, 40) if color[2] <= 100 and color[1] >= 180 else (250, 205, 40)
    pen.disc(0, -0.3, 0.24, middle)


def boat(pen: Pen, color: Color) -> None:
    """A sailing boat; the colour is its hull's."""
    pen.polygon([(-1, 0.3), (1, 0.3), (0.6, 0.85), (-0.65, 0.85)], color)
    pen.rectangle((-0.05, -1, 0.05, 0.35), WOOD)
    pen.polygon([(0.1, -0.95), (0.85, 0.2), (0.1, 0.2)], (250, 250, 245))
    pen.polygon([(-0.1, -0.7), (-0.65, 0.2), (-0.1, 0.2)], (250, 250, 245))


def mushroom(pen: Pen, color: Color) -> None:
    pen.polygon([(-0.28, -0.1), (0.28, -0.1), (0.36, 0.95), (-0.36, 0.95)], (240, 228, 205))
    cap = [(math.cos(a), -0.05 + 0.9 * math.sin(a)) for a in np.linspace(math.pi, 2 * math.pi, 24)]
    pen.polygon(cap, color)
    for x, y, radius in ((-0.45, -0.3, 0.14), (0.05, -0.6, 0.16), (0.5, -0.25, 0.14)):
        pen.disc(x, y, radius, (250, 248, 240), in_mask=False)


DrawFunction = Callable[[Pen, Color], None]
SHAPES: dict[str, DrawFunction] = {
    function.__name__: function for function in (circle, square, triangle, star, heart, ring, cross, diamond)
}
SKY_THINGS: dict[str, DrawFunction] = {function.__name__: function for function in (sun, moon, cloud, balloon)}
GROUND_THINGS: dict[str, DrawFunction] = {
    function.__name__: function for function in (tree, house, car, cat, flower, boat, mushroom)
}
KINDS: dict[str, DrawFunction] = {**SHAPES, **SKY_THINGS, **GROUND_THINGS}
EXTENT = 1.2
"""No shape reaches farther from its centre than this many radii, along x or y."""


def draw_mask(kind: str, size: int) -> np.ndarray:
    """The outline of a kind, drawn alone in the middle: [size, size] bool."""
    picture, mask = Image.new("RGB", (size, size)), Image.new("L", (size, size))
    KINDS[kind](Pen(picture, mask, (size / 2, size / 2), size / (2.2 * EXTENT)), (255, 255, 255))
    return np.asarray(mask) > 127
