"""Checks a record file, which may come from a stranger, before anything is done with it: its text, pictures and maps.

What does not fit raises ValueError with what was expected and what came; `record.py`, through which every record is
read, makes one sentence of it.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from daam.errors import RecordError
from daam.prompt.terms import every_word
from daam.prompt.typed_words import kept_columns
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import Side
from daam.tracing.text_maps import EVERY_STEP, TextMaps

FORMAT = "daam record"
VERSION = 2
KEY = "daam"
"""Of the file's metadata."""
MOST_PIXELS = 2**26
"""Of a picture, 8192×8192: every map that is drawn takes four bytes for each."""
MOST_CALLS = 100_000
"""Of the model: more than any generation has, few enough to go through."""
LARGEST_SEED = 2**64
_PNG = b"\x89PNG\r\n\x1a\n"


def check_file(path: Path) -> None:
    """
    Raises:
        RecordError: there is no such file, it may not be read, or it is a folder, a pipe or a device.
    """
    try:
        if path.exists() and not path.is_file():
            raise RecordError(f"{path} is no file, so it is no record of heat maps")
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(f"there is no record file {path}") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """The text of a record, of our format and version.

    Raises:
        RecordError: the file is another program's, or of another version.
        ValueError, RecursionError: the text is no JSON, or holds a number that is not finite.
    """
    text = (metadata or {}).get(KEY)
    foreign = f"{path} is a safetensors file, but not a record of ours"
    if text is None:
        raise RecordError(foreign)
    data = json.loads(text, parse_float=_finite, parse_constant=_finite)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise RecordError(foreign)
    if data.get("version") != VERSION:
        raise RecordError(f"expected version {VERSION} of a {FORMAT}, {path} is version {data.get('version')!r}")
    return data


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"its text holds a number that is not finite, {text}")
    return float(text)


def check_text(data: Mapping[str, Any]) -> None:
    """The parts of the text that tell how much is done, before they are used. Raises ValueError."""
    if not isinstance(data["images"], list) or not data["images"]:
        raise ValueError("it holds no picture")
    _check_number("seed", data["notes"].get("seed", 0), -LARGEST_SEED, LARGEST_SEED)
    for image in data["images"]:
        height, width = image["picture_size"]
        for side in (height, width):
            _check_number("picture size", side, 1, MOST_PIXELS)
        _check_number("calls", image["calls"], 0, MOST_CALLS)


def _check_number(name: str, value: Any, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ValueError(f"{name}: expected a whole number from {lowest} to {highest}, got {str(value)[:40]!r}")


def open_picture(content: Tensor, size: tuple[int, int]) -> Image.Image:
    """The picture, which is a PNG and of that (height, width); any other format would start a reader of its own.

    Raises:
        ValueError, OSError, Image.DecompressionBombError: it is another, or damaged; nothing was unpacked then, if its
            size is another one.
    """
    head = content[:24].numpy().tobytes()
    if content.dtype != torch.uint8 or len(head) < 24 or not head.startswith(_PNG):
        raise ValueError("expected a picture as PNG, got something else")
    width, height = struct.unpack(">II", head[16:])
    _check_sizes((height, width), size)
    if width * height > MOST_PIXELS:
        raise ValueError(f"expected a picture of at most {MOST_PIXELS} pixels, got one of {height}x{width}")
    try:
        picture = Image.open(io.BytesIO(content.numpy().tobytes()), formats=["PNG"])
    except UnidentifiedImageError as error:
        raise ValueError("expected a picture as PNG, got a damaged one") from error
    check_size(picture, size)
    picture.load()
    return picture


def check_size(picture: Image.Image, size: tuple[int, int]) -> None:
    """Raises ValueError where maps of `size` (height, width) are not of the picture's size."""
    _check_sizes((picture.height, picture.width), size)


def _check_sizes(own: tuple[int, int], maps: tuple[int, int]) -> None:
    if own != maps:
        raise ValueError(f"the picture is of {own[0]}x{own[1]}, but its maps are of {maps[0]}x{maps[1]} pixels")


def check_trace(trace: ImageTrace) -> None:
    """The maps fit their columns and calls, the columns the words, the region the picture. Raises ValueError."""
    for maps in trace.texts.values():
        _check_maps(maps, trace.calls)
    if trace.region is not None:
        (left, top, width, height), whole = trace.region, trace.picture_size
        if min(left, top) < 0 or min(width, height) < 1 or left + width > whole[1] or top + height > whole[0]:
            raise ValueError(f"expected a region inside a picture of {whole[0]}x{whole[1]}, got {trace.region}")
    _check_words(trace)


def _check_maps(maps: TextMaps, calls: int) -> None:
    if not set(maps.details) <= set(maps.sums):
        raise ValueError(f"expected details of {', '.join(maps.sums)}, got {', '.join(maps.details)}")
    for layer, tensor in maps.sums.items():
        if tensor.dim() != 3 or len(tensor) != len(maps.text.columns):
            raise ValueError(f"expected {len(maps.text.columns)} maps of {layer}, got shape {tuple(tensor.shape)}")
        details = maps.details.get(layer, {})
        if any(
            kept.dim() != 4 or kept.shape[-3:] != (len(maps.text.detail_columns), *tensor.shape[1:])
            for kept in details.values()
        ):
            raise ValueError(f"expected details of {len(maps.text.detail_columns)} columns in {layer}")
        for step in details:
            _check_number(f"step of {layer}", step, EVERY_STEP, calls - 1)
        for values in (tensor, *details.values()):
            _check_values(layer, values)
    _check_outputs(maps)
    refined, columns = maps.refined, maps.text.refined_columns
    if refined is None:
        return
    if refined.dim() != 3 or len(refined) != len(columns) or not set(columns) <= set(maps.text.columns):
        raise ValueError(f"expected {len(columns)} refined maps of the kept columns, got {tuple(refined.shape)}")
    _check_values("the refined", refined)


def _check_outputs(maps: TextMaps) -> None:
    words = maps.text.output_words
    if not {column for word in words for column in word} <= set(maps.text.columns) or not all(words):
        raise ValueError("expected words of kept columns in the output space")
    for layer, tensor in maps.outputs.items():
        if layer not in maps.sums or tensor.shape != (len(words), *maps.sums[layer].shape[1:]):
            raise ValueError(f"expected {len(words)} output maps of {layer}, got shape {tuple(tensor.shape)}")
        _check_values(f"{layer}'s outputs", tensor)


def _check_values(name: str, values: Tensor) -> None:
    if values.dtype != torch.float32:
        raise ValueError(f"expected maps of {name} in float32, got {values.dtype}".replace("torch.", ""))
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"the maps of {name} hold values that are not finite")


def _check_words(trace: ImageTrace) -> None:
    """Reads every word once: what does not fit together fails here, not when the maps are drawn."""
    for side in get_args(Side):
        table = trace.table(side)
        columns = {
            (part_number, entry_number, column)
            for part_number, part in enumerate(table.parts if table else ())
            for entry_number, entry in enumerate(part.schedule)
            for column in kept_columns(entry)
        }
        for key, maps in trace.texts.items():
            if key.side == side and not {(key.part, key.entry, column) for column in maps.text.columns} <= columns:
                raise ValueError(f"expected maps of the {side} prompt's words, got columns {maps.text.columns}")
        if table is not None:
            every_word(table)
