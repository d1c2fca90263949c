"""Two nouns in one prompt: do their maps lie on each other, and are both in the picture? By group of pairs.

Tang et al. (ACL 2023), section 5: cohyponyms, which are of one kind, entangle more than unrelated nouns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from daam.demo_model.colours import RGB, colour_regions, is_present
from daam.errors import RecordError, SettingError
from daam.extras import need
from daam.maps.heat_maps import HeatMaps
from daam.pictures.convert import to_rgb_array
from daam.results.record import load_record
from daam.studies.evaluation.folders import Place
from daam.studies.evaluation.masks import Encoded
from daam.studies.evaluation.rules import mask_by
from daam.studies.numbers.estimates import Estimate, difference_of, mean_over
from daam.studies.numbers.writing import Cell, Findings, Table

MEASURES = {"overlap": "overlap of the two nouns (IoU)", "both_present": "both are in the picture"}


def noun_rows(
    places: Iterable[Place], *, rule: str, threshold: float, reading: str, ratings: Mapping[str, float] | None = None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """A row for each picture whose annotations name a pair: `group`, `first`, `second`.

    Whether both are present is, in this order, what `ratings` says of the item, what its annotations say ("present", a
    list of the nouns that are), or what the colours before both nouns say, where the embedded model drew it.

    Raises:
        SettingError: no picture has such a pair.
    """
    rows: list[dict[str, Any]] = []
    counts = {"read": 0, "without a pair or a record": 0, "damaged": 0}
    for place in places:
        pair = [str(place.annotations.get(name, "")) for name in ("first", "second")]
        if place.record is None or not all(pair):
            counts["without a pair or a record"] += 1
            continue
        try:
            result = load_record(place.record)
            maps = result.heat_maps().select(reading=reading)
        except RecordError:
            counts["damaged"] += 1
            continue
        counts["read"] += 1
        present = (ratings or {}).get(place.id, _annotated(place, pair))
        if present is None or math.isnan(present):
            present = _by_colour(result.pictures[0], pair, place.prompt or "", result.notes.model)
        rows.append(
            {
                "item": place.name,
                "group": str(place.annotations.get("group", "")),
                "first": pair[0],
                "second": pair[1],
                "overlap": _overlap(maps, pair, rule, threshold),
                "both_present": present,
            }
        )
    if not rows:
        raise SettingError(
            "cohyponyms: expected pictures with a pair of nouns (`daam batch --conjunctions FILE`), got none"
        )
    return rows, counts


def noun_findings(
    rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], settings: Mapping[str, Any]
) -> Findings:
    """Each group's means, and the difference of the first two groups."""
    frame = need("pandas", "daam study").DataFrame(rows)
    groups = dict(list(frame.groupby("group", sort=False)))
    results: dict[str, Any] = {}
    lines: list[Sequence[Cell]] = []
    for measure, title in MEASURES.items():
        found = {name: mean_over(part[measure], part["item"]) for name, part in groups.items()}
        line: list[Cell] = [title, *found.values()]
        results[measure] = dict(found)
        if len(groups) >= 2:
            first, second, *_ = groups.values()
            results[measure]["difference"] = difference_of(first[measure], second[measure])
            line.append(results[measure]["difference"])
        lines.append(line)
    heads = ["", *groups, *(["difference"] if len(groups) >= 2 else [])]
    notes = ["; ".join(f"{count} pictures {name}" for name, count in counts.items() if count)]
    if not frame["both_present"].notna().all():
        notes.append(
            f"of {int(frame['both_present'].isna().sum())} pictures it is not known what is there: --export-sheet "
            "writes a sheet for people who look, --ratings reads it back"
        )
    figures = {"overlap.png": _bars(results["overlap"])}
    title = "Pairs of nouns"
    return Findings(title, frame, results, settings, [Table(title, heads, lines, 100, 1)], notes, figures)


def _overlap(maps: HeatMaps, pair: Sequence[str], rule: str, threshold: float) -> float:
    nouns = [text.split()[-1] for text in pair]
    if not all(noun in maps for noun in nouns):
        return math.nan
    first, second = (mask_by(rule, threshold, maps, maps[noun].values) for noun in nouns)
    return Encoded(first).iou(Encoded(second))


def _annotated(place: Place, pair: Sequence[str]) -> float:
    present = place.annotations.get("present")
    if not isinstance(present, list):
        return math.nan
    known = {str(word).lower() for word in present}
    return float(all(text.lower() in known or text.split()[-1].lower() in known for text in pair))


def _by_colour(picture: Image.Image, pair: Sequence[str], prompt: str, model: str) -> float:
    """Whether the colours of "red circle" and "blue square" cover plausible parts of an embedded model's picture."""
    colours = [next((word for word in text.lower().split() if word in RGB), None) for text in pair]
    if model != "embedded" or None in colours or colours[0] == colours[1]:
        return math.nan
    named = [colour for colour in colours if colour is not None]
    ground = [word for word in prompt.lower().replace(",", " ").split() if word in RGB and word not in named]
    regions = colour_regions(to_rgb_array(picture), [*named, *ground[-1:]])[:2]
    return float(all(map(is_present, regions)))


def _bars(found: Mapping[str, Estimate]) -> Figure:
    figure = Figure(figsize=(5, 4))
    axes = figure.add_subplot()
    names = [name for name in found if name != "difference"]
    for column, estimate in enumerate(found[name] for name in names):
        if estimate.n:
            axes.bar([column], [estimate.value], color=f"C{column}")
        if estimate.low is not None and estimate.high is not None:
            axes.plot([column, column], [estimate.low, estimate.high], color="black")
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("IoU of the two nouns' masks")
    return figure
