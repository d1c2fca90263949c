"""Writes frames as an animated GIF or WebP that loops for ever. Knows nothing of what the frames show."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from daam.errors import SettingError, ShapeError
from daam.pictures.convert import to_rgb_image

LONGEST_SIDE = 16_383
"""The most that WebP can hold, and plenty for a GIF."""
_SAMPLE_SIDE = 128


def save_animation(
    frames: Sequence[Image.Image], path: str | os.PathLike[str], *, seconds_per_frame: float = 0.15
) -> None:
    """Saves the frames in order, by the path's suffix.

    A GIF has one palette of 256 colours for all frames and no dithering, so that what stands still does not flicker.
    Frames that look the same as the one before are stored once and shown for longer.

    Args:
        frames: one or more, of any mode, all of one size.
        path: ends in .gif or .webp; its folder must be there. A file of that name is replaced.
        seconds_per_frame: 0.02 to 60; GIF counts in hundredths.

    Raises:
        SettingError: another suffix, or a time out of range.
        ShapeError: no frames, sizes that differ, or a side of more than 16,383 pixels.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".gif", ".webp"):
        raise SettingError(f"expected a path that ends in .gif or .webp, got {Path(path).name!r}")
    if not (math.isfinite(seconds_per_frame) and 0.02 <= seconds_per_frame <= 60):
        raise SettingError(f"expected 0.02 to 60 seconds for a frame, got {seconds_per_frame}")
    pictures = [to_rgb_image(frame) for frame in frames]
    _check_sizes(pictures)
    milliseconds = round(seconds_per_frame * 100) * 10
    if suffix == ".gif":
        first, *rest = _with_one_palette(pictures)
        first.save(path, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0, optimize=False)
    else:
        first, *rest = pictures
        first.save(path, "WEBP", save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=88)


def _check_sizes(pictures: Sequence[Image.Image]) -> None:
    if not pictures:
        raise ShapeError("expected at least one frame for an animation, got none")
    sizes = {f"{picture.height}x{picture.width}": picture.size for picture in pictures}
    if len(sizes) > 1:
        raise ShapeError(f"expected frames of one size, got {', '.join(sizes)}; pad or scale them first")
    if max(pictures[0].size) > LONGEST_SIDE:
        raise ShapeError(f"expected frames of at most {LONGEST_SIDE} pixels a side, got {next(iter(sizes))}")


def _with_one_palette(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    palette = _sample_sheet(pictures).quantize(256, method=Image.Quantize.MEDIANCUT)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def _sample_sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Small copies of all frames under one another, each at most 128 pixels a side; unmixed, so colours stay true."""
    width, height = (min(side, _SAMPLE_SIDE) for side in pictures[0].size)
    sheet = Image.new("RGB", (width, height * len(pictures)))
    for place, picture in enumerate(pictures):
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (0, place * height))
    return sheet
