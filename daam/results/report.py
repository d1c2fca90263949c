"""The report of one generation as plain data: what was asked for, with what, and each term's numbers."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from daam.errors import RecordError
from daam.maps.heat_maps import HeatMaps
from daam.maps.statistics import term_statistics, where
from daam.prompt.terms import parse_terms
from daam.results.drawing import chosen_terms, shown_sides
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.tracing.image_trace import ImageTrace
from daam.version import __version__

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "opencv-python-headless", "matplotlib", "pillow", "lark")


def make_report(result: Result) -> dict[str, Any]:
    """Notes (prompt, seed, model, settings, timings), versions, and the terms of every picture.

    Each term has its `columns` (part, schedule entry, columns of the context), `spans` in the typed prompt,
    `statistics`, or a `reason` why it has no map.
    """
    images = [_image(number, trace, result.drawing) for number, trace in enumerate(result.traces)]
    return {**result.noted(), "versions": versions(), "images": images}


def to_json(report: Any) -> str:
    """The report as JSON, which knows no NaN.

    Raises:
        RecordError: it holds a number that is not finite.
    """
    try:
        return json.dumps(report, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise RecordError("the report holds a number that is not finite, which JSON does not have") from error


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of what the numbers depend on."""
    found = {"daam": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _image(number: int, trace: ImageTrace, drawing: DrawingSettings) -> dict[str, Any]:
    sides = shown_sides(trace, drawing)
    terms = [row for side in sides for row in _terms(drawing.read(HeatMaps(trace, side=side)), drawing)]
    height, width = trace.picture_size
    return {"image": number, "height": height, "width": width, "model_calls": trace.calls, "terms": terms}


def _terms(maps: HeatMaps, drawing: DrawingSettings) -> list[dict[str, Any]]:
    terms = chosen_terms(maps, replace(drawing, skip_function_words=False))  # numbers of every word
    statistics = term_statistics(maps, terms)
    rows = []
    for term in terms:
        reason = maps.explain(term)
        places = maps[term].places if reason is None else ()
        numbers = statistics.get(term)
        rows.append(
            {
                "term": parse_terms(term)[0].text,
                "side": maps.side,
                "columns": [
                    {"part": place.part, "entry": place.entry, "columns": list(place.columns)} for place in places
                ],
                "spans": sorted({place.span for place in places}),
                "statistics": numbers,
                "where": where(numbers["center_of_mass"]) if numbers else None,
                "reason": reason,
            }
        )
    return rows
