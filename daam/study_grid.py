"""Draws a study: a row for each variant with its picture, the terms' heat maps, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daam.drawing import DrawingSettings, draw_terms, enlarge
from daam.heat_maps import HeatMaps
from daam.pictures.captions import STRIP_COLOUR, add_caption
from daam.pictures.convert import to_rgb_array
from daam.pictures.grid import make_grid
from daam.pictures.overlay import overlay
from daam.study import Variant
from daam.tracing.image_trace import ImageTrace

DIFFERENCE_COLORMAP = "inferno"
DIFFERENCE_OPACITY = 0.85


@dataclass(frozen=True)
class StudyResult:
    """A variant that was generated."""

    variant: Variant
    picture: Image.Image
    trace: ImageTrace


@dataclass(frozen=True)
class Change:
    """How much a variant's picture differs from the unmodified one, as shares of the full range, 0..1.

    Attributes:
        values: [height, width], averaged over the colours.
        inside, outside: the average within the mask of the changed term's map in the unmodified picture, and around
            it; None where the term has no map.
    """

    values: NDArray[np.float32]
    inside: float | None
    outside: float | None

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def text(self) -> str:
        return f"changed {self.mean:.1%}"

    @property
    def note(self) -> str | None:
        if self.inside is None or self.outside is None:
            return None
        return f"{self.inside:.1%} within the term's map, {self.outside:.1%} outside"


def measure_change(base: StudyResult, result: StudyResult) -> Change:
    """Compares a variant with the unmodified result; pictures of other sizes are compared at the latter's."""
    before = to_rgb_array(base.picture).astype(np.float32)
    picture = result.picture if result.picture.size == base.picture.size else result.picture.resize(base.picture.size)
    values = np.abs(to_rgb_array(picture).astype(np.float32) - before).mean(axis=2) / 255
    maps = HeatMaps(base.trace)
    term = result.variant.term
    if term is None or term not in maps:
        return Change(values, None, None)
    mask = maps[term].mask()
    if not mask.any() or mask.all():
        return Change(values, None, None)
    return Change(values, float(values[mask].mean()), float(values[~mask].mean()))


def draw_study(results: Sequence[StudyResult], settings: DrawingSettings) -> Image.Image:
    """One grid; the first result is the unmodified one. Variants that were not generated are left out."""
    base = results[0]
    changes = [measure_change(base, result) for result in results[1:]]
    highest = max((float(change.values.max()) for change in changes), default=0.0) or 1.0
    terms = [result.variant.term for result in results if result.variant.term is not None]
    shown = replace(settings, terms=settings.terms or ", ".join(dict.fromkeys(terms)), with_negative=False)
    tiles: list[Image.Image] = []
    columns = 0
    for result, change in zip(results, [None, *changes]):
        picture = enlarge(result.picture, shown)
        row = [_captioned(picture, result.variant.label, None, shown)]
        row += [drawn.tile for drawn in draw_terms(picture, HeatMaps(result.trace), shown)]
        if change is None:
            row.append(_captioned(Image.new("RGB", picture.size, STRIP_COLOUR), "change", "against this row", shown))
        else:
            drawn = overlay(picture, change.values / highest, opacity=DIFFERENCE_OPACITY, colormap=DIFFERENCE_COLORMAP)
            row.append(_captioned(drawn, change.text, change.note, shown))
        tiles += row
        columns = len(row)
    rows = len(tiles) // columns
    background = settings.background or STRIP_COLOUR
    return make_grid(tiles, layout="batch-rows", batch_size=rows, background=background)


def _captioned(picture: Image.Image, text: str, note: str | None, settings: DrawingSettings) -> Image.Image:
    return add_caption(picture, text, note=note) if settings.show_captions else picture
