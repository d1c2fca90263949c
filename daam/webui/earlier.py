"""Brings back the heat maps of a picture that was saved earlier, from the record file that was kept of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from daam.errors import RecordError
from daam.results.record import load_record
from daam.results.result import Result
from daam.webui import texts

SUFFIX = ".heatmaps.safetensors"
"""Of record files, behind the name of the picture without its own."""
LARGEST_DIFFERENCE = 8.0
"""Mean difference per channel (of 255) up to which two pictures are one: JPEG changes a little, another seed much."""


def result_of_saved(file: Path, folders: Iterable[Path]) -> Result:
    """The heat maps of a saved picture.

    Args:
        file: the picture. Only its name and its pixels are used; it may lie anywhere.
        folders: where records are looked for, with the folders in them.

    Raises:
        RecordError: it is no picture, or no record of it is there; the text says what to do.
    """
    searched = list(dict.fromkeys(folder for folder in folders if folder.is_dir()))
    try:
        with Image.open(file) as image:
            picture = image.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise RecordError(f"Expected a picture that the WebUI saved, {file.name} is none that can be read.") from error
    for candidate in _records_named(file.name, searched):
        record = load_record(candidate)
        if any(_is_same(picture, kept) for kept in record.pictures):
            return record
    raise RecordError(
        f"No record was kept of {file.name}: no {Path(file.name).stem}{SUFFIX} is in the folders that the WebUI saves "
        "to. "
        f"Records are kept while this is on: {texts.SETTINGS_PAGE} → {texts.KEEP_RECORDS}."
    )


def _records_named(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Browsers and gradio change the signs of an uploaded file's name, so that only letters and digits count."""
    wanted = _letters(PurePosixPath(name.replace("\\", "/")).stem)
    for folder in folders:
        for path in sorted(folder.rglob(f"*{SUFFIX}")):
            if _letters(path.name[: -len(SUFFIX)]) == wanted:
                yield path


def _letters(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())


def _is_same(first: Image.Image, second: Image.Image) -> bool:
    if first.size != second.size:
        return False
    difference = np.asarray(first, np.float32) - np.asarray(second.convert("RGB"), np.float32)
    return bool(np.abs(difference).mean() <= LARGEST_DIFFERENCE)
