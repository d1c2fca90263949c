"""Writes and reads the record file: pictures and traces of one generation, enough to draw again without the model.

A safetensors file. Its metadata holds one JSON text under "daam"; tensors are named by picture, text and layer.
"""

from __future__ import annotations

import io
import json
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from daam.results.drawing_settings import DrawingSettings
from daam.results.record_check import (
    FORMAT,
    KEY,
    VERSION,
    check_file,
    check_size,
    check_text,
    check_trace,
    open_picture,
    read_text,
)
from daam.results.result import Notes, Result
from daam.results.whole_files import whole_file
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.text_maps import TextMaps

_DAMAGES = (
    SafetensorError, OSError, KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError,
    RecursionError, SyntaxError, Image.DecompressionBombError,
)  # fmt: skip
"""What a file that is no record, or a damaged one, makes the readers raise."""


def save_record(path: Path, result: Result) -> None:
    """Writes the file beside its place and puts it there when it is whole; one that was there stays till then.

    >>> daam.save_record(Path("circle.safetensors"), daam.Result([picture], [heat_maps.trace]))

    Raises:
        RecordError: the file cannot be written, the notes do not fit JSON, or a picture is of another size than its
            maps.
    """
    tensors: dict[str, Tensor] = {}
    images = []
    try:
        for number, (picture, trace) in enumerate(result.pairs):
            check_size(picture, trace.picture_size)
            tensors[f"{number}.picture"] = _picture_to_tensor(picture)
            images.append(_trace_to_data(trace, f"{number}", tensors))
        data = {"format": FORMAT, "version": VERSION, "notes": result.noted(), "images": images}
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError) as error:
        reason = str(error).replace("Out of range float values are not JSON compliant", "a number is not finite")
        raise RecordError(f"{path} would be a record that nobody can read: {reason}") from error
    _write(path, tensors, text)


def _write(path: Path, tensors: dict[str, Tensor], text: str) -> None:
    try:
        with whole_file(path) as draft:
            draft.touch()
            mode = stat.S_IMODE(draft.stat().st_mode)  # as for every new file; safetensors' own are for the owner alone
            save_file(tensors, draft, metadata={KEY: text})
            draft.chmod(mode)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecordError(f"{path} cannot be written: {reason}") from error


def load_record(path: Path) -> Result:
    """Reads what `save_record` wrote. Everything that reads records goes through here, and so through `record_check`.

    >>> result = daam.Result([picture], [heat_maps.trace], notes=daam.Notes(seed=3))
    >>> daam.save_record(Path("circle.safetensors"), result)
    >>> loaded = daam.load_record(Path("circle.safetensors"))
    >>> list(loaded.heat_maps()), loaded.notes.seed
    (['a', 'red', 'circle', 'and', 'blue', 'square'], 3)

    Raises:
        RecordError: there is no such file, or it is damaged or no record.
    """
    check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            data = read_text(path, file.metadata())
            check_text(data)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        images = data["images"]
        sizes = [(image["picture_size"][0], image["picture_size"][1]) for image in images]
        pictures = [open_picture(tensors[f"{number}.picture"], size) for number, size in enumerate(sizes)]
        traces = [_data_to_trace(image, f"{number}", tensors) for number, image in enumerate(images)]
        return Result(pictures, traces, _drawing(data["notes"]), Notes.read(data["notes"]))
    except RecordError:
        raise
    except _DAMAGES as error:
        reason = str(error).split("\n")[0]
        raise RecordError(f"{path} is no record of heat maps, or it is damaged: {reason}") from error


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


_COLUMNS = ("columns", "detail_columns", "refined_columns")


def _trace_to_data(trace: ImageTrace, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    texts = []
    for number, maps in enumerate(trace.texts.values()):
        for layer, tensor in maps.sums.items():
            tensors[f"{name}.{number}.sum.{layer}"] = tensor.contiguous()
        for layer, kept in maps.details.items():
            tensors[f"{name}.{number}.detail.{layer}"] = torch.stack(list(kept.values()))
        if maps.refined is not None:
            tensors[f"{name}.{number}.refined"] = maps.refined.contiguous()
        for layer, tensor in maps.outputs.items():
            tensors[f"{name}.{number}.output.{layer}"] = tensor.contiguous()
        texts.append(
            {
                "key": maps.text.key._asdict(),
                "columns": maps.text.columns,
                "detail_columns": maps.text.detail_columns,
                "refined_columns": maps.text.refined_columns if maps.refined is not None else (),
                "output_words": maps.text.output_words if maps.outputs else (),
                "outputs": list(maps.outputs),
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
        "remarks": trace.remarks,
        "not_refined": trace.not_refined,
        "no_outputs": trace.no_outputs,
        "probe": None if trace.probe is None else asdict(trace.probe),
        "texts": texts,
    }


def _data_to_trace(data: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> ImageTrace:
    texts = {}
    for number, row in enumerate(data["texts"]):
        key = TextKey(**row["key"])
        columns, details, refined = (tuple(row.get(name, ())) for name in _COLUMNS)
        words = tuple(tuple(word) for word in row.get("output_words", ()))
        maps = TextMaps(TracedText(key, columns, details, refined, output_words=words))
        maps.outputs = {layer: tensors[f"{name}.{number}.output.{layer}"] for layer in row.get("outputs", ())}
        maps.refined = tensors[f"{name}.{number}.refined"] if refined else None
        maps.counts, maps.heads = row["counts"], row["heads"]
        maps.sums = {layer: tensors[f"{name}.{number}.sum.{layer}"] for layer in maps.counts}
        maps.details = {
            layer: dict(zip(steps, tensors[f"{name}.{number}.detail.{layer}"], strict=True))
            for layer, steps in row["steps"].items()
        }
        texts[key] = maps
    height, width = data["picture_size"]
    negative, probe = (None if data.get(side) is None else _table(data[side]) for side in ("negative", "probe"))
    region = data.get("region")
    if region is not None:
        left, top, region_width, region_height = (int(number) for number in region)
        region = (left, top, region_width, region_height)
    trace = ImageTrace(
        (height, width), _table(data["positive"]), negative, texts, data["calls"], tuple(data["keep"]), region, probe,
        tuple(map(str, data.get("remarks", ()))), str(data.get("not_refined", "")),
        str(data.get("no_outputs", "")),
    )  # fmt: skip
    check_trace(trace)
    return trace


def _table(data: dict[str, Any]) -> PromptTable:
    parts = tuple(
        PromptPart(
            part["text"],
            part["weight"],
            tuple(_entry(entry) for entry in part["schedule"]),
            int(part.get("sampling_pass", 0)),
        )
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
