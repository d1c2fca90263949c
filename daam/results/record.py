"""Writes and reads the record file: pictures and traces of one generation, enough to draw again without the model.

A safetensors file. Its metadata holds one JSON text under "daam"; tensors are named by picture, text and layer.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from daam.errors import DaamError, RecordError
from daam.prompt.table import (
    Chunk,
    EmbeddingFix,
    ExtraNetworkTag,
    PromptPart,
    PromptTable,
    ScheduleEntry,
    TokenColumn,
)
from daam.prompt.terms import every_word, word_columns
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Notes, Result
from daam.tracing.accumulator import TextMaps
from daam.tracing.image_trace import ImageTrace, Region
from daam.tracing.plan import Side, TextKey, TracedText

FORMAT = "daam record"
VERSION = 2
_DAMAGES = (
    SafetensorError, OSError, KeyError, TypeError, ValueError, IndexError, AttributeError,
    RecursionError, Image.DecompressionBombError,
)  # fmt: skip
"""What a file that is no record, or a damaged one, makes the readers raise."""


def save_record(path: Path, result: Result) -> None:
    """Writes the file; the notes must fit JSON.

    >>> daam.save_record(Path("circle.safetensors"), daam.Result([picture], [heat_maps.trace]))
    """
    tensors: dict[str, Tensor] = {}
    images = []
    for number, (picture, trace) in enumerate(result.pairs):
        tensors[f"{number}.picture"] = _picture_to_tensor(picture)
        images.append(_trace_to_data(trace, f"{number}", tensors))
    data = {"format": FORMAT, "version": VERSION, "notes": result.noted(), "images": images}
    save_file(tensors, path, metadata={"daam": json.dumps(data)})


def load_record(path: Path) -> Result:
    """Reads what `save_record` wrote.

    >>> result = daam.Result([picture], [heat_maps.trace], notes=daam.Notes(seed=3))
    >>> daam.save_record(Path("circle.safetensors"), result)
    >>> loaded = daam.load_record(Path("circle.safetensors"))
    >>> list(loaded.heat_maps()), loaded.notes.seed
    (['a', 'red', 'circle', 'and', 'blue', 'square'], 3)

    Raises:
        RecordError: there is no such file, or it is damaged or no record.
    """
    try:
        with safe_open(path, framework="pt") as file:
            data = json.loads((file.metadata() or {})["daam"])
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise RecordError(f"expected version {VERSION} of a {FORMAT}, {path} is version {data['version']}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        images = data["images"]
        pictures = [_tensor_to_picture(tensors[f"{number}.picture"]) for number in range(len(images))]
        traces = [_data_to_trace(image, f"{number}", tensors) for number, image in enumerate(images)]
        result = Result(pictures, traces, _drawing(data["notes"]), Notes.read(data["notes"]))
    except FileNotFoundError as error:
        raise RecordError(f"there is no record file {path}") from error
    except _DAMAGES as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path} is no record of heat maps, or it is damaged: {error}") from error
    return result


def _drawing(notes: Any) -> DrawingSettings:
    """As it was drawn then, as far as the notes say how."""
    try:
        return DrawingSettings(**notes.get("drawing", {}))
    except (TypeError, DaamError):  # of another version
        return DrawingSettings()


def _picture_to_tensor(picture: Image.Image) -> Tensor:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


def _tensor_to_picture(tensor: Tensor) -> Image.Image:
    picture = Image.open(io.BytesIO(tensor.numpy().tobytes()))
    picture.load()
    return picture


def _trace_to_data(trace: ImageTrace, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    texts = []
    for number, maps in enumerate(trace.texts.values()):
        for layer, tensor in maps.sums.items():
            tensors[f"{name}.{number}.sum.{layer}"] = tensor.contiguous()
        for layer, kept in maps.details.items():
            tensors[f"{name}.{number}.detail.{layer}"] = torch.stack(list(kept.values()))
        texts.append(
            {
                "key": maps.text.key._asdict(),
                "columns": maps.text.columns,
                "detail_columns": maps.text.detail_columns,
                "counts": maps.counts,
                "steps": {layer: list(kept) for layer, kept in maps.details.items()},
                "heads": maps.heads,
            }
        )
    return {
        "picture_size": trace.picture_size,
        "positive": asdict(trace.positive),
        "negative": None if trace.negative is None else asdict(trace.negative),
        "calls": trace.calls,
        "keep": trace.keep,
        "region": trace.region,
        "probe": None if trace.probe is None else asdict(trace.probe),
        "texts": texts,
    }


def _data_to_trace(data: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> ImageTrace:
    texts = {}
    for number, row in enumerate(data["texts"]):
        key = TextKey(**row["key"])
        maps = TextMaps(TracedText(key, tuple(row["columns"]), tuple(row["detail_columns"])))
        maps.counts, maps.heads = row["counts"], row["heads"]
        maps.sums = {layer: tensors[f"{name}.{number}.sum.{layer}"] for layer in maps.counts}
        maps.details = {
            layer: dict(zip(steps, tensors[f"{name}.{number}.detail.{layer}"], strict=True))
            for layer, steps in row["steps"].items()
        }
        _check_maps(maps)
        texts[key] = maps
    height, width = data["picture_size"]
    positive = _table(data["positive"])
    negative = None if data["negative"] is None else _table(data["negative"])
    if min(height, width) < 1:
        raise ValueError(f"expected a picture of at least 1x1, got {height}x{width}")
    region = _region(data.get("region"), int(height), int(width))
    probe = None if data.get("probe") is None else _table(data["probe"])
    size, calls = (int(height), int(width)), int(data["calls"])
    trace = ImageTrace(size, positive, negative, texts, calls, tuple(data["keep"]), region, probe)
    _check_words(trace)
    return trace


def _region(data: Any, height: int, width: int) -> Region | None:
    if data is None:
        return None
    left, top, region_width, region_height = (int(number) for number in data)
    if min(left, top) < 0 or min(region_width, region_height) < 1 or left + region_width > width:
        raise ValueError(f"expected a region inside a picture of {height}x{width}, got {data}")
    if top + region_height > height:
        raise ValueError(f"expected a region inside a picture of {height}x{width}, got {data}")
    return (left, top, region_width, region_height)


def _check_maps(maps: TextMaps) -> None:
    if not set(maps.details) <= set(maps.sums):
        raise ValueError(f"expected details of {', '.join(maps.sums)}, got {', '.join(maps.details)}")
    for layer, tensor in maps.sums.items():
        if tensor.dim() != 3 or len(tensor) != len(maps.text.columns):
            raise ValueError(f"expected {len(maps.text.columns)} maps of {layer}, got shape {tuple(tensor.shape)}")
        details = maps.details.get(layer, {})
        if any(kept.shape[-3:] != (len(maps.text.detail_columns), *tensor.shape[1:]) for kept in details.values()):
            raise ValueError(f"expected details of {len(maps.text.detail_columns)} columns in {layer}")


def _check_words(trace: ImageTrace) -> None:
    """Reads every word once: what does not fit together fails here, not when the maps are drawn."""
    for side in get_args(Side):
        table = trace.table(side)
        columns = {
            (part_number, entry_number, column)
            for part_number, part in enumerate(table.parts if table else ())
            for entry_number, entry in enumerate(part.schedule)
            for column in word_columns(entry)
        }
        for key, maps in trace.texts.items():
            if key.side == side and not {(key.part, key.entry, column) for column in maps.text.columns} <= columns:
                raise ValueError(f"expected maps of the {side} prompt's words, got columns {maps.text.columns}")
        if table is not None:
            every_word(table)


def _table(data: dict[str, Any]) -> PromptTable:
    parts = tuple(
        PromptPart(part["text"], part["weight"], tuple(_entry(entry) for entry in part["schedule"]))
        for part in data["parts"]
    )
    return PromptTable(data["prompt"], parts, tuple(ExtraNetworkTag(tag["text"], _span(tag)) for tag in data["tags"]))


def _entry(data: dict[str, Any]) -> ScheduleEntry:
    chunks = tuple(
        Chunk(tuple(chunk["tokens"]), tuple(chunk["multipliers"]), tuple(EmbeddingFix(**fix) for fix in chunk["fixes"]))
        for chunk in data["chunks"]
    )
    columns = tuple(TokenColumn(**{**column, "span": _span(column)}) for column in data["columns"])
    attention = tuple((text, weight) for text, weight in data["attention"])
    return ScheduleEntry(**{**data, "attention": attention, "chunks": chunks, "columns": columns})


def _span(data: dict[str, Any]) -> Any:
    return None if data["span"] is None else tuple(data["span"])
