"""A bar of the colormap under a grid: which colour is little attention and which is much."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from daam.pictures.captions import _draw_line, _lines, _width
from daam.pictures.colormaps import colorize
from daam.pictures.contrast import text_colour
from daam.pictures.grid import Colour, _colour

_TEXT_PER_TILE = 0.036
_SMALLEST_TEXT = 11


def add_colour_bar(grid: Image.Image, colormap: str, tile_width: int, background: Colour) -> Image.Image:
    """The grid with a strip under it: "less", the colours, "more".

    Args:
        tile_width: of the grid's tiles, in pixels; the bar is as wide, and its letters fit their captions.

    Raises:
        SettingError: no such colormap or colour.
    """
    ground = _colour(background)
    size = max(_SMALLEST_TEXT, round(tile_width * _TEXT_PER_TILE))
    height, width = round(2.2 * size), min(grid.width, tile_width)
    colour = text_colour(ground)
    texts = [_lines(text, width, 1, size, colour)[0] for text in ("less attention", "more")]
    strip = Image.new("RGB", (grid.width, height), ground)
    drawing = ImageDraw.Draw(strip)
    left, baseline = round(size * 0.6), round(height / 2 + size * 0.36)
    for number, line in enumerate(texts):
        _draw_line(drawing, left, baseline, line)
        left += round(sum(_width(glyph, size) for glyph in line.glyphs)) + size
        if number == 0:
            ramp = np.tile(np.linspace(0, 1, max(2, width // 2), dtype=np.float32), (max(4, round(size * 0.7)), 1))
            bar = Image.fromarray(colorize(ramp, colormap))
            strip.paste(bar, (left, (height - bar.height) // 2))
            left += bar.width + size
    joined = Image.new("RGB", (grid.width, grid.height + height), ground)
    joined.paste(grid, (0, 0))
    joined.paste(strip, (0, grid.height))
    return joined
