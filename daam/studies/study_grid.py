"""Draws a study: a row for each variant with its picture, the terms' heat maps, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daam.maps.heat_maps import HeatMaps
from daam.maps.scales import apply_scale
from daam.pictures.captions import STRIP_COLOUR
from daam.pictures.convert import to_rgb_array
from daam.pictures.labelled_grid import LabelledRow, labelled_grid
from daam.pictures.overlay import overlay
from daam.prompt.terms import parse_terms
from daam.results.drawing import enlarge
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.studies.study import Variant

DIFFERENCE_COLORMAP = "inferno"
DIFFERENCE_OPACITY = 0.85
LEGIBLE_WIDTH = 256


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


def measure_change(base: Result, varied: Result, term: str | None) -> Change:
    """Compares the picture of a variant with the unmodified one; one of another size at the latter's.

    Args:
        term: the one that was changed; None where none was.
    """
    unmodified, picture = base.pictures[0], varied.pictures[0]
    before = to_rgb_array(unmodified).astype(np.float32)
    picture = picture if picture.size == unmodified.size else picture.resize(unmodified.size)
    values = np.abs(to_rgb_array(picture).astype(np.float32) - before).mean(axis=2) / 255
    maps = base.drawing.read(base.heat_maps())
    if term is None or term not in maps:
        return Change(values, None, None)
    mask = maps[term].mask()
    if not mask.any() or mask.all():
        return Change(values, None, None)
    return Change(values, float(values[mask].mean()), float(values[~mask].mean()))


def draw_study(results: Mapping[Variant, Result], settings: DrawingSettings) -> Image.Image:
    """One grid with a labelled row for each variant; the first is the unmodified one.

    Variants that were not generated are left out. The scale "shared" is one for all rows, so that they can be compared.
    """
    base = next(iter(results.values()))
    changed = [variant.term for variant in results if variant.term is not None]
    terms = [term.quoted for term in parse_terms(settings.terms)] or list(dict.fromkeys(changed))
    changes = {
        variant: None if result is base else measure_change(base, result, variant.term)
        for variant, result in results.items()
    }
    highest = max((float(change.values.max()) for change in changes.values() if change is not None), default=0.0) or 1.0
    maps = [settings.read(result.heat_maps()) for result in results.values()]
    scaled = _scaled(maps, terms, settings.scale)
    rows = []
    for number, (variant, result) in enumerate(results.items()):
        picture, change = result.pictures[0], changes[variant]
        picture = enlarge(picture, replace(settings, image_scale=settings.image_scale or _scale(picture)))
        cells: list[Image.Image | str] = [picture]
        for term in terms:
            found = scaled.get((number, term))
            cells.append(
                _why_not(maps, number, term, variant)
                if found is None
                else overlay(picture, found, opacity=settings.opacity, colormap=settings.colormap, blend=settings.blend)
            )
        cells.append("" if change is None else _drawn_change(picture, change, highest))
        note = variant.prompt if change is None else "\n".join(filter(None, [change.text, change.note]))
        rows.append(LabelledRow(variant.label, cells, note))
    heads = ["picture", *(parse_terms(term)[0].text for term in terms), "change"]
    return labelled_grid(heads, rows, background=settings.background or STRIP_COLOUR)


def _why_not(maps: Sequence[HeatMaps], number: int, term: str, variant: Variant) -> str:
    """Why a variant has no map of a term, in few words where it was this variant that took it away."""
    if variant.is_left_out and term in maps[0]:
        return "left out"
    return maps[number].explain(term) or "no heat map"


def _scaled(maps: Sequence[HeatMaps], terms: Sequence[str], scale: str) -> dict[tuple[int, str], NDArray[np.float32]]:
    """The maps of all rows in 0..1, by the number of the row and the term; terms without a map are left out."""
    found = [(number, term) for number, row in enumerate(maps) for term in terms if term in row]
    if scale != "shared":
        return {(number, term): maps[number].scaled([term], scale)[0] for number, term in found}
    stacked = [maps[number][term].values for number, term in found]
    return dict(zip(found, apply_scale(scale, np.stack(stacked), stacked[0]))) if found else {}


def _drawn_change(picture: Image.Image, change: Change, highest: float) -> Image.Image:
    return overlay(picture, change.values / highest, opacity=DIFFERENCE_OPACITY, colormap=DIFFERENCE_COLORMAP)


def _scale(picture: Image.Image) -> float:
    """Small pictures are enlarged by a whole factor until their rows can be read."""
    return max(1, -(-LEGIBLE_WIDTH // picture.width))
