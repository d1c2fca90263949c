"""An adjective exchanged on one seed: what changes where its noun is, what elsewhere, and how far its map reaches.

Tang et al. (ACL 2023), section 5: adjectives attend too broadly, and change more than their noun.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from daam.errors import RecordError, SettingError
from daam.extras import need
from daam.maps.heat_maps import HeatMaps
from daam.pictures.convert import to_rgb_array
from daam.results.record import load_record
from daam.studies.evaluation.folders import Place
from daam.studies.evaluation.masks import Mask
from daam.studies.evaluation.rules import mask_by
from daam.studies.numbers.estimates import Estimate, mean_over
from daam.studies.numbers.writing import Cell, Findings, Table

MEASURES = {
    "inside": "change inside the noun's mask",
    "outside": "change outside of it",
    "difference": "outside − inside",
    "reach": "share of the adjective's mask beyond the noun's",
}


@dataclass(frozen=True)
class Swap:
    """Two pictures of one seed whose prompts differ in one word."""

    base: Place
    varied: Place
    position: int

    def word(self, place: Place) -> str:
        return (place.prompt or "").split()[self.position].strip(",.;:")


def find_swaps(places: Iterable[Place]) -> list[Swap]:
    """Pairs of pictures of one seed whose prompts differ in one word; the first in order is compared with each other.

    Articles before the word may differ with it.
    """
    by_rest: dict[tuple[Any, ...], list[tuple[Place, str]]] = {}
    for place in places:
        words = (place.prompt or "").split()
        if place.record is None or place.seed is None:
            continue
        for position, word in enumerate(words):
            rest = [_article(other) for number, other in enumerate(words) if number != position]
            by_rest.setdefault((place.seed, place.subtype, position, *rest), []).append((place, word))
    found = []
    for (_, _, position, *_), group in by_rest.items():
        base, word = group[0]
        found += [Swap(base, other, position) for other, own in group[1:] if own != word]
    return found


def _article(word: str) -> str:
    return "a" if word.lower() == "an" else word.lower()


def swap_rows(
    swaps: Sequence[Swap], *, rule: str, threshold: float, reading: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """A row for each swap. The noun is the one the annotations name, or the word after the adjective.

    Raises:
        SettingError: there is no pair of pictures to compare.
    """
    rows: list[dict[str, Any]] = []
    counts = {"compared": 0, "without the noun's or the adjective's map": 0, "damaged": 0}
    for swap in swaps:
        try:
            base, varied = (load_record(place.record) for place in (swap.base, swap.varied) if place.record is not None)
            maps = [result.heat_maps().select(reading=reading) for result in (base, varied)]
        except RecordError:
            counts["damaged"] += 1
            continue
        noun = _noun(swap)
        adjectives = swap.word(swap.base), swap.word(swap.varied)
        masks = [_masks(each, adjective, noun, rule, threshold) for each, adjective in zip(maps, adjectives)]
        if noun is None or any(mask is None for mask in masks):
            counts["without the noun's or the adjective's map"] += 1
            continue
        counts["compared"] += 1
        (adjective, own), (other_adjective, other) = (mask for mask in masks if mask is not None)
        before, after = (to_rgb_array(result.pictures[0]).astype(np.float32) for result in (base, varied))
        change = np.abs(after - before).mean(axis=2) / 255
        where = own | other
        inside = float(change[where].mean()) if where.any() else math.nan
        outside = float(change[~where].mean()) if not where.all() else math.nan
        rows.append(
            {
                "item": swap.base.name,
                "varied": swap.varied.name,
                "noun": noun,
                "adjective": adjectives[0],
                "other_adjective": adjectives[1],
                "inside": inside,
                "outside": outside,
                "difference": outside - inside,
                "reach": float(np.nanmean([_beyond(adjective, own), _beyond(other_adjective, other)])),
            }
        )
    if not rows:
        raise SettingError(
            "adjectives: expected pictures of one seed whose prompts differ in one word, got none "
            f"({', '.join(f'{count} {name}' for name, count in counts.items() if count) or 'no such pair'}); "
            "`daam batch --prompts` with a JSONL file says the seed of each"
        )
    return rows, counts


def swap_findings(
    rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], settings: Mapping[str, Any]
) -> Findings:
    """The means over all swaps; swaps of one base are one caption of the bootstrap."""
    frame = need("pandas", "daam study").DataFrame(rows)
    found: dict[str, Estimate] = {name: mean_over(frame[name], frame["item"]) for name in MEASURES}
    lines: list[Sequence[Cell]] = [[MEASURES[name], estimate] for name, estimate in found.items()]
    notes = [
        "Changes are shares of the full range of colours, averaged over pixels; the noun's mask is either picture's.",
        "; ".join(f"{count} pairs {name}" for name, count in counts.items() if count),
    ]
    figures = {"changes.png": _scatter(frame)}
    title = "Adjectives exchanged"
    return Findings(title, frame, found, settings, [Table(title, ["", "%"], lines, 100, 1)], notes, figures)


def _noun(swap: Swap) -> str | None:
    words = swap.base.annotations.get("words")
    named = swap.base.annotations.get("noun") or (words.get("noun") if isinstance(words, Mapping) else None)
    if named:
        return str(named)
    following = (swap.base.prompt or "").split()[swap.position + 1 : swap.position + 2]
    return following[0].strip(",.;:") if following else None


def _masks(maps: HeatMaps, adjective: str, noun: str | None, rule: str, threshold: float) -> tuple[Mask, Mask] | None:
    if noun is None or adjective not in maps or noun not in maps:
        return None
    first, second = (mask_by(rule, threshold, maps, maps[word].values) for word in (adjective, noun))
    return first, second


def _beyond(adjective: Mask, noun: Mask) -> float:
    return float((adjective & ~noun).sum() / adjective.sum()) if adjective.any() else math.nan


def _scatter(frame: Any) -> Figure:
    figure = Figure(figsize=(5, 5))
    axes = figure.add_subplot()
    axes.plot(100 * frame["inside"], 100 * frame["outside"], "o", alpha=0.5)
    highest = 100 * float(np.nanmax([frame["inside"].max(), frame["outside"].max()])) or 1.0
    axes.plot([0, highest], [0, highest], color="gray", linewidth=1)
    axes.set(xlabel="change inside the noun's mask, %", ylabel="change outside, %")
    return figure
