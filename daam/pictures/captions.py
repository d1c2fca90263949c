"""Writes a caption on a strip of its own under a picture. Knows nothing of heat maps or grids.

The strip is dark and the letters are white whatever the picture, so that they can always be read.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from PIL import Image, ImageDraw

from daam.pictures.caption_text import Glyph, read_glyphs, wrap
from daam.pictures.convert import Picture, to_rgb_image
from daam.pictures.fonts import base_font_path, load_font

STRIP_COLOUR = (24, 24, 27)
TEXT_COLOUR = (250, 250, 250)
NOTE_COLOUR = (168, 168, 176)
CODE_COLOUR = (250, 204, 110)
TEXT_LINES = 4
NOTE_LINES = 3
_TEXT_PER_WIDTH = 0.036
_NOTE_PER_TEXT = 0.78
_SMALLEST_TEXT = 11


class _Line(NamedTuple):
    glyphs: list[Glyph]
    size: int
    colour: tuple[int, int, int]
    code_colour: tuple[int, int, int] = CODE_COLOUR

    @property
    def height(self) -> int:
        return round(self.size * 1.3)


def add_caption(image: Picture, text: str, *, note: str | None = None) -> Image.Image:
    """The picture with a strip under it that says `text`, and `note` smaller and grey.

    Letters are 3.6 % of the picture's width (at least 11 pixels). `text` is wrapped to 4 lines and `note` to 3;
    what does not fit ends in an ellipsis. A character that no font of this machine has is shown as a box
    with its code, `[732B]` for 猫; so are control characters. Any string at all may be given.

    Args:
        image: of any mode, or uint8 [height, width, 3].

    Returns:
        An RGB image of the same width, higher by the strip; the picture's pixels are on top, unchanged.

    Raises:
        ShapeError: not a picture, or an empty one.
    """
    picture = to_rgb_image(image)
    strip = _strip(picture.width, text, note)
    captioned = Image.new("RGB", (picture.width, picture.height + strip.height))
    captioned.paste(picture, (0, 0))
    captioned.paste(strip, (0, picture.height))
    return captioned


def _strip(width: int, text: str, note: str | None) -> Image.Image:
    text_size = max(_SMALLEST_TEXT, round(width * _TEXT_PER_WIDTH))
    note_size = max(_SMALLEST_TEXT - 1, round(text_size * _NOTE_PER_TEXT))
    margin = round(text_size * 0.6)
    room = max(1, width - 2 * margin)
    lines = _lines(text, room, TEXT_LINES, text_size, TEXT_COLOUR) or [_Line([], text_size, TEXT_COLOUR)]
    lines += _lines(note or "", room, NOTE_LINES, note_size, NOTE_COLOUR)
    strip = Image.new("RGB", (width, sum(line.height for line in lines) + round(text_size * 1.1)), STRIP_COLOUR)
    draw = ImageDraw.Draw(strip)
    top = round(text_size * 0.4)  # less than the 0.7 below, so that the words belong to the picture above
    for line in lines:
        _draw_line(draw, margin, top + line.size, line)
        top += line.height
    return strip


def _lines(text: str, room: int, max_lines: int, size: int, colour: tuple[int, int, int]) -> list[_Line]:
    """On the strip's ground boxes of codes have a colour of their own; on any other they take the text's."""
    wrapped = wrap(read_glyphs(text), room, max_lines, lambda glyph: _width(glyph, size))
    code_colour = CODE_COLOUR if colour in (TEXT_COLOUR, NOTE_COLOUR) else colour
    return [_Line(glyphs, size, colour, code_colour) for glyphs in wrapped]


@lru_cache(maxsize=4096)  # the same letters again and again; each costs more than all else of a caption
def _width(glyph: Glyph, size: int) -> float:
    if glyph.font_path is None:
        return _code_box_width(glyph, size)
    return float(load_font(glyph.font_path, size).getlength(glyph.text))


def _draw_line(draw: ImageDraw.ImageDraw, left: float, baseline: int, line: _Line) -> None:
    """Glyphs of one font are drawn in one go, so that Pillow can join letters and turn right-to-left ones."""
    for path, run in groupby(line.glyphs, key=lambda glyph: glyph.font_path):
        if path is None:
            for glyph in run:
                _draw_code_box(draw, left, baseline, glyph, line)
                left += _code_box_width(glyph, line.size)
        else:
            font = load_font(path, line.size)
            text = "".join(glyph.text for glyph in run)
            draw.text((left, baseline), text, fill=line.colour, font=font, anchor="ls")
            left += font.getlength(text)


def _code(glyph: Glyph) -> str:
    return f"{ord(glyph.text):04X}"


def _code_size(size: int) -> int:
    return max(8, round(size * 0.62))


def _code_box_width(glyph: Glyph, size: int) -> int:
    """The code, a quarter of a letter on both sides within the box, and an eighth without."""
    font = load_font(base_font_path(), _code_size(size))
    return math.ceil(font.getlength(_code(glyph)) + 2 * round(size * 0.2) + 2 * round(size * 0.12))


def _draw_code_box(draw: ImageDraw.ImageDraw, left: float, baseline: int, glyph: Glyph, line: _Line) -> None:
    size = line.size
    gap = round(size * 0.12)
    right = left + _code_box_width(glyph, size) - gap
    box = (round(left) + gap, baseline - round(size * 0.82), round(right), baseline + round(size * 0.14))
    draw.rounded_rectangle(box, radius=round(size * 0.18), outline=line.code_colour, width=max(1, round(size * 0.06)))
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    font = load_font(base_font_path(), _code_size(size))
    draw.text(middle, _code(glyph), fill=line.code_colour, font=font, anchor="mm")
