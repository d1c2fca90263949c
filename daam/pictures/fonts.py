"""Finds a font that has a character. Knows nothing of captions, lines or pictures.

DejaVu Sans comes with matplotlib and is tried first; then the fonts that matplotlib finds on this machine.
"""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

logger = logging.getLogger(__name__)

_LIKED = (
    "sans cjk",
    "noto sans",
    "yahei",
    "pingfang",
    "hiragino",
    "yu gothic",
    "malgun",
    "wenquanyi",
    "emoji",
    "segoe",
)
"""Parts of family names, the best first: plain fonts for the scripts that DejaVu lacks."""
_UNWANTED = ("last resort", "lastresort", "adobe blank")
"""Fonts that claim every character and draw the same box, or nothing, for all of them."""


def base_font_path() -> str:
    """DejaVu Sans, as matplotlib ships it."""
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@lru_cache(maxsize=256)
def load_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    """The font at `size` pixels. Raises OSError where FreeType cannot read it."""
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=8192)
def font_path_for(character: str) -> str | None:
    """The font file that draws this one character, or None where no font does."""
    for path in (base_font_path(), *_system_font_paths()):
        if has_character(path, character) and (path == base_font_path() or _leaves_ink(path, character)):
            return path
    return None


def has_character(path: str, character: str) -> bool:
    """Whether the font lists the character; it may still be drawn as nothing."""
    covered = _coverage(path)
    place = int(np.searchsorted(covered, ord(character)))
    return place < len(covered) and int(covered[place]) == ord(character)


@cache
def _coverage(path: str) -> NDArray[np.uint32]:
    """The code points of a font, sorted; none where it cannot be read.

    Read by matplotlib's own FreeType: 50 times as fast as fontTools, and it opens collections (.ttc) too.
    """
    from matplotlib.ft2font import FT2Font

    try:
        codes = FT2Font(path).get_charmap()
    except (OSError, RuntimeError, ValueError) as error:
        logger.debug("font %s cannot be read: %s", path, error)
        codes = {}
    return np.sort(np.fromiter((int(code) for code in codes), np.uint32, len(codes)))


def _leaves_ink(path: str, character: str) -> bool:
    """Colour and placeholder fonts may list a character and draw nothing that Pillow can show."""
    try:
        return load_font(path, 24).getmask(character).getbbox() is not None
    except (OSError, ValueError) as error:
        logger.debug("font %s cannot draw U+%04X: %s", path, ord(character), error)
        return False


@lru_cache(maxsize=1)
def _system_font_paths() -> tuple[str, ...]:
    """Upright fonts of usual weight, the liked families first, else by name.

    Imported here since matplotlib looks through the machine's folders on the first import ever.
    """
    from matplotlib.font_manager import fontManager

    ranked = set()
    for entry in fontManager.ttflist:
        name = entry.name.casefold()
        if entry.style == "normal" and _usual_weight(entry.weight) and not any(part in name for part in _UNWANTED):
            rank = next((place for place, part in enumerate(_LIKED) if part in name), len(_LIKED))
            ranked.add((rank, name, str(entry.fname)))
    return tuple(dict.fromkeys(path for _, _, path in sorted(ranked)))


def _usual_weight(weight: int | str) -> bool:
    return weight in ("normal", "regular", "book", "medium") or (isinstance(weight, int) and 350 <= weight <= 500)
