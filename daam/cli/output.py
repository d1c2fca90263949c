"""Writes a generation's folder and prints the table of its terms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from daam.errors import SettingError
from daam.maps.heat_maps import HeatMaps
from daam.pictures.animation import save_animation
from daam.results.drawing import Drawing, chosen_terms, enlarge
from daam.results.file_names import safe_file_names
from daam.results.report import to_json
from daam.results.result import Result
from daam.results.step_animation import step_frames

REPORT_PAGE = "report.html"
RESERVED = ("picture.png", "grid.png", "record.safetensors", "report.json", REPORT_PAGE)


def new_folder(parent: Path, seed: int) -> Path:
    """A folder that did not exist, named after the time and the seed.

    Raises:
        SettingError: it cannot be made.
    """
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{seed}"
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise SettingError(f"out: expected a folder that can be written to, got {parent}: {error}") from error
        return folder
    raise SettingError(f"out: {parent} has too many folders of this second")


def write_pictures(folder: Path, pictures: Sequence[Image.Image]) -> list[str]:
    """`picture.png`, or `picture-1.png` and so on for a batch."""
    names = ["picture.png"] if len(pictures) == 1 else [f"picture-{n}.png" for n in range(1, len(pictures) + 1)]
    for name, picture in zip(names, pictures):
        picture.save(folder / name)
    return names


def write_drawing(folder: Path, drawing: Drawing, taken: Sequence[str]) -> list[str]:
    """`grid.png` and one file for each term's tile, in the order of `drawing.terms`."""
    several = len({drawn.image for drawn in drawing.terms}) > 1
    labels = [
        (f"{drawn.image + 1}-" if several else "") + ("" if drawn.side == "positive" else f"{drawn.side}-") + drawn.name
        for drawn in drawing.terms
    ]
    names = safe_file_names(labels, reserved=[*RESERVED, *taken])
    for name, drawn in zip(names, drawing.terms):
        drawn.tile.save(folder / name)
    drawing.grid.save(folder / "grid.png")
    return names


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


def print_terms(report: dict[str, Any]) -> None:
    """One line for each term: strength as a bar, coverage, where; or why it has no map."""
    for image in report["images"]:
        if len(report["images"]) > 1:
            print(f"\npicture {image['image'] + 1}")
        rows = image["terms"]
        width = min(24, max((len(row["term"]) for row in rows), default=4))
        strongest = max((row["statistics"]["strength"] for row in rows if row["statistics"]), default=0) or 1
        print(f"{'term':{width}}  {'strength':16}  coverage  where")
        for row in rows:
            print(f"{_shorten(row['term'], width):{width}}  {_describe(row, strongest)}")


def _describe(row: dict[str, Any], strongest: float) -> str:
    numbers = row["statistics"]
    if not numbers:
        return f"– {row['reason']}"
    bar = "█" * max(1, round(10 * numbers["strength"] / strongest)) if numbers["strength"] else ""
    return f"{bar:10} {numbers['strength']:5.1%}  {numbers['coverage']:8.0%}  {row['where']}"


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
