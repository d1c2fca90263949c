"""Splits a text into glyphs and wraps them into lines. Knows no drawing and no picture.

Every character is kept visible: one that no font has, and every control character, becomes a glyph
without a font, which the drawing shows as a box with its code.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from daam.pictures.fonts import base_font_path, font_path_for, has_character

LONGEST_TEXT = 1000
"""Characters read of a caption; more would not fit its lines, and end in an ellipsis all the same."""
_JOINERS = ("\u200c", "\u200d")
_DOTTED_CIRCLE = "\u25cc"
_BREAK_AFTER = "-/,_;|"


class Glyph(NamedTuple):
    """What is never torn apart: a character with its accents. Without a font it is one character to show as code."""

    text: str
    font_path: str | None

    @property
    def is_blank(self) -> bool:
        return self.text == " "


def read_glyphs(text: str) -> list[Glyph]:
    """The text's glyphs in logical order; runs of blanks and line ends become one blank, those at the ends go."""
    glyphs: list[Glyph] = []
    for character in text[:LONGEST_TEXT]:
        if character.isspace():
            if glyphs and not glyphs[-1].is_blank:
                glyphs.append(Glyph(" ", base_font_path()))
        else:
            _add(glyphs, character)
    if len(text) > LONGEST_TEXT:
        glyphs.append(_ellipsis())
    return glyphs[:-1] if glyphs and glyphs[-1].is_blank else glyphs


def _add(glyphs: list[Glyph], character: str) -> None:
    """Appends a character, or joins it to the last glyph if it is an accent or a joiner."""
    category = unicodedata.category(character)
    if _is_variation_selector(character):
        return
    if category.startswith("M") or character in _JOINERS:
        last = glyphs[-1] if glyphs else Glyph(" ", None)
        if not last.is_blank and last.font_path is not None and has_character(last.font_path, character):
            glyphs[-1] = Glyph(last.text + character, last.font_path)
        elif character not in _JOINERS:
            glyphs.append(_lone_accent(character))
        return
    hidden = category in ("Cc", "Cf", "Cs")
    glyphs.append(Glyph(character, None if hidden else font_path_for(character)))


def _is_variation_selector(character: str) -> bool:
    """They only pick a style for the character before them."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _lone_accent(character: str) -> Glyph:
    path = font_path_for(character)
    return Glyph(character, None) if path != base_font_path() else Glyph(_DOTTED_CIRCLE + character, path)


def _ellipsis() -> Glyph:
    return Glyph("…", base_font_path())


def wrap(glyphs: Sequence[Glyph], width: float, max_lines: int, measure: Callable[[Glyph], float]) -> list[list[Glyph]]:
    """Fills lines from the left, breaking at blanks, around wide characters, else wherever the line is full.

    Args:
        width: of a line, in the unit of `measure`. A glyph that is wider has a line to itself.
        max_lines: 1 or more; what does not fit is replaced by an ellipsis.

    Returns:
        The lines, at most `max_lines`; none for no glyphs. None begins or ends with a blank.
    """
    lines: list[list[Glyph]] = []
    rest = list(glyphs)
    while rest and len(lines) < max_lines:
        count = _fitting(rest, width, measure)
        lines.append(_trimmed(rest[:count]))
        rest = _trimmed(rest[count:])
    if rest:
        lines[-1] = _shortened(lines[-1], width, measure)
    return lines


def _fitting(glyphs: list[Glyph], width: float, measure: Callable[[Glyph], float]) -> int:
    """How many glyphs go on this line, at least one."""
    used = 0.0
    last_break = 0
    for place, glyph in enumerate(glyphs):
        if place and _may_break(glyphs[place - 1], glyph):
            last_break = place
        used += measure(glyph)
        if used > width and not glyph.is_blank:
            return last_break or max(place, 1)
    return len(glyphs)


def _may_break(before: Glyph, after: Glyph) -> bool:
    if after.is_blank:
        return False
    return before.is_blank or before.text in _BREAK_AFTER or _is_wide(before) or _is_wide(after)


def _is_wide(glyph: Glyph) -> bool:
    return glyph.font_path is None or unicodedata.east_asian_width(glyph.text[0]) in "WF"


def _trimmed(glyphs: list[Glyph]) -> list[Glyph]:
    while glyphs and glyphs[0].is_blank:
        glyphs = glyphs[1:]
    while glyphs and glyphs[-1].is_blank:
        glyphs = glyphs[:-1]
    return glyphs


def _shortened(line: list[Glyph], width: float, measure: Callable[[Glyph], float]) -> list[Glyph]:
    ellipsis = _ellipsis()
    room = width - measure(ellipsis)
    while line and sum(map(measure, line)) > room:
        line = line[:-1]
    return [*_trimmed(line), ellipsis]
