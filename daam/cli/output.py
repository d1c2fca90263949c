"""Writes what is in a generation's folder and prints the table of its terms."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from daam.cli.folders import NewFolder
from daam.cli.terminal import say
from daam.errors import DaamError
from daam.maps.heat_maps import HeatMaps
from daam.pictures.animation import save_animation
from daam.results.drawing import Drawing, chosen_terms, draw, enlarge
from daam.results.file_names import safe_file_names
from daam.results.record import save_record
from daam.results.report import make_report, to_json
from daam.results.result import Result
from daam.results.step_animation import step_frames
from daam.results.viewer.page import report_html

REPORT_PAGE = "report.html"
RECORD = "record.safetensors"
NO_MAP = "no-map.txt"
MOST_UNKNOWN = 20
"""Terms without a map that the printed table names."""
ORDERS: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "prompt": lambda rows: rows,
    "strength": lambda rows: sorted(rows, key=lambda row: -(row["statistics"] or {"strength": -1})["strength"]),
}
"""Of the printed table's rows."""
RESERVED = ("picture.png", "grid.png", RECORD, "report.json", REPORT_PAGE)


def write_pictures(folder: Path, pictures: Sequence[Image.Image]) -> list[str]:
    """`picture.png`, or `picture-1.png` and so on for a batch."""
    names = ["picture.png"] if len(pictures) == 1 else [f"picture-{n}.png" for n in range(1, len(pictures) + 1)]
    for name, picture in zip(names, pictures):
        picture.save(folder / name)
    return names


def write_drawing(folder: Path, drawing: Drawing, taken: Sequence[str]) -> None:
    """`grid.png`, one file for each term that has a map, and one that says why the others have none."""
    several = len({drawn.image for drawn in drawing.terms}) > 1
    found = [drawn for drawn in drawing.terms if drawn.reason is None]
    labels = [
        (f"{drawn.image + 1}-" if several else "") + ("" if drawn.side == "positive" else f"{drawn.side}-") + drawn.name
        for drawn in found
    ]
    names = safe_file_names(labels, reserved=[*RESERVED, *taken])
    for name, drawn in zip(names, found):
        if drawn.tile is not None:
            drawn.tile.save(folder / name)
    drawing.grid.save(folder / "grid.png")
    reasons = [
        (f"picture {drawn.image + 1}: " if several else "") + drawn.reason
        for drawn in drawing.terms
        if drawn.reason is not None
    ]
    if reasons:
        lines = "\n".join(reasons).encode("utf-8", "backslashreplace")
        (folder / NO_MAP).write_bytes(lines + b"\n")


def write_result(folder: Path, result: Result, animate: str | None) -> dict[str, Any]:
    """Everything of a generation; returns what stands in `report.json`."""
    taken = write_pictures(folder, result.pictures)
    save_record(folder / RECORD, result)
    started = time.perf_counter()
    write_drawing(folder, draw(result), taken)
    if animate:
        write_animations(folder, animate, result)
    seconds = {**result.notes.seconds, "drawing": time.perf_counter() - started}
    report = make_report(replace(result, notes=replace(result.notes, seconds=seconds)))
    write_report(folder, report)
    (folder / REPORT_PAGE).write_text(report_html(result), "utf-8")
    return report


def rescue(result: Result, wanted: Path, name: str) -> Path | None:
    """Saves the pictures, and the record where it fits too, in the first folder that takes them.

    Args:
        wanted: the folder that was asked for, in which not everything could be written.

    Returns:
        Where they are; None where no folder took them.
    """
    for parent in (wanted, Path(), Path("~"), Path(tempfile.gettempdir())):
        own_name = name if parent == wanted else f"daam-{name}"
        with contextlib.suppress(OSError, RuntimeError, DaamError), NewFolder(parent.expanduser(), own_name) as folder:
            write_pictures(folder.draft, result.pictures)
            if result.fault is None:
                with contextlib.suppress(DaamError):
                    save_record(folder.draft / RECORD, result)
            return folder.finish().resolve()
    return None


def write_animations(folder: Path, suffix: str, result: Result) -> None:
    """One animation over the steps for each term of the positive prompt that has a map."""
    settings = result.drawing
    several = len(result.pictures) > 1
    jobs = []
    for number, (picture, trace) in enumerate(result.pairs):
        maps = HeatMaps(trace)
        jobs += [(number, picture, maps, term) for term in chosen_terms(maps, settings) if term in maps]
    labels = [f"{number + 1}-{term}" if several else term for number, _, _, term in jobs]
    for name, (_, picture, maps, term) in zip(safe_file_names(labels, suffix=f".{suffix}"), jobs):
        frames = step_frames(
            maps, term, enlarge(picture, settings), opacity=settings.opacity, colormap=settings.colormap
        )
        save_animation(frames, folder / name)


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """`report.json`."""
    (folder / "report.json").write_text(to_json(report), "utf-8")


def print_terms(report: dict[str, Any], order: str = "prompt") -> None:
    """One line for each term: strength as a bar, coverage, where; or why it has no map.

    Args:
        order: a name of `ORDERS`.
    """
    for image in report["images"]:
        if len(report["images"]) > 1:
            say(f"\npicture {image['image'] + 1}")
        missing = [row for row in image["terms"] if not row["statistics"]]
        left_out = {row["term"] for row in missing[MOST_UNKNOWN:]}
        rows = ORDERS[order]([row for row in image["terms"] if row["term"] not in left_out])
        width = min(24, max((len(row["term"]) for row in rows), default=4))
        strongest = max((row["statistics"]["strength"] for row in rows if row["statistics"]), default=0) or 1
        say(f"{'term':{width}}  {'strength':16}  coverage  where")
        for row in rows:
            say(f"{_shorten(row['term'], width):{width}}  {_describe(row, strongest)}")
        if left_out:
            say(f"and {len(missing) - MOST_UNKNOWN} more without a map; {NO_MAP} says why")
    for remark in report["remarks"]:
        say(f"\n{remark}")


def _describe(row: dict[str, Any], strongest: float) -> str:
    numbers = row["statistics"]
    if not numbers:
        return f"– {row['reason']}"
    bar = "█" * max(1, round(10 * numbers["strength"] / strongest)) if numbers["strength"] else ""
    return f"{bar:10} {numbers['strength']:5.1%}  {numbers['coverage']:8.0%}  {row['where']}"


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
