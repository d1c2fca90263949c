"""The sheet on which people rate pictures, and reading it back. Opinions need people; this is what they fill in."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from daam.errors import SettingError
from daam.studies.evaluation.folders import Place

COLUMNS = ("item", "picture", "prompt", "first", "second", "first_present", "second_present", "quality")
ASKED = """\
first_present, second_present: 1 if the thing is in the picture, 0 if not; quality: 1 (bad) to 5 (excellent)"""


def write_sheet(path: Path, places: Iterable[Place]) -> int:
    """Writes a CSV file with a row for each picture; returns how many.

    Raises:
        SettingError: it cannot be written.
    """
    count = 0
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            sheet = csv.writer(file)
            sheet.writerow(COLUMNS)
            for place in places:
                if place.picture is None:
                    continue
                pair = [str(place.annotations.get(name, "")) for name in ("first", "second")]
                sheet.writerow([place.id, place.picture, _plain(place.prompt or ""), *map(_plain, pair), "", "", ""])
                count += 1
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror}") from error
    return count


def read_presence(path: Path) -> dict[str, float]:
    """Of each item the share of the raters who found both things in its picture; what nobody rated is left out.

    Raises:
        SettingError: it is no such sheet, or a cell is neither 0 nor 1.
    """
    votes: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"item", "first_present", "second_present"} <= set(rows.fieldnames or ()):
                raise SettingError(f"{path}: expected the columns item, first_present, second_present")
            for row in rows:
                both = [_vote(row[name], path) for name in ("first_present", "second_present")]
                if not any(map(math.isnan, both)):
                    votes.setdefault(row["item"], []).append(min(both))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from error
    return {item: sum(found) / len(found) for item, found in votes.items()}


def _vote(cell: str | None, path: Path) -> float:
    text = (cell or "").strip()
    if text not in ("", "0", "1"):
        raise SettingError(f"{path}: expected 0, 1 or nothing in first_present and second_present, got {text[:40]!r}")
    return float(text) if text else math.nan


def _plain(text: str) -> str:
    """A prompt as text for a spreadsheet, which would compute what begins like a formula."""
    return f"'{text}" if text[:1] in "=+-@" else text
