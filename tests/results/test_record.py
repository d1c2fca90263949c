"""The record file: everything comes back, and what is no record is named."""

from __future__ import annotations

import contextlib
import functools
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import daam
from daam.errors import RecordError
from daam.results.record import load_record, save_record
from daam.results.report import make_report
from daam.results.result import Notes, Result
from daam.tracing.image_trace import ImageTrace
from tests.pipelines import sd1


@pytest.fixture(scope="module")
def record() -> Result:
    prompt = "a [cat:dog:1] \ud800 <lora:x:1>"
    settings = daam.GenerationSettings(prompt, negative="ugly", steps=3, height=64, width=72)
    generation = daam.generate(sd1(), settings, keep=("steps", "heads"), terms="cat")
    return Result(generation.pictures, generation.traces, notes=Notes(seed=5))


@pytest.fixture
def path(record: Result, tmp_path: Path) -> Path:
    save_record(tmp_path / "record.safetensors", record)
    return tmp_path / "record.safetensors"


def test_everything_comes_back(record: Result, path: Path) -> None:
    loaded = load_record(path)
    assert loaded.notes == Notes(seed=5)
    assert np.array_equal(np.asarray(loaded.pictures[0]), np.asarray(record.pictures[0]))
    before, after = record.traces[0], loaded.traces[0]
    assert (after.positive, after.negative) == (before.positive, before.negative)
    assert (after.picture_size, after.calls, after.keep) == ((64, 72), 3, ("steps", "heads"))
    for choice in ({}, {"steps": (0, 0)}, {"heads": [1]}, {"layers": "up_blocks.*"}):
        first, second = (daam.HeatMaps(trace).select(**choice)["cat"].values for trace in (before, after))
        assert np.array_equal(first, second)
    assert np.array_equal(*(daam.HeatMaps(trace, side="negative")["ugly"].values for trace in (before, after)))


def test_a_damaged_file_is_named(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match="damaged"):
            load_record(path)


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(RecordError, match="not a record of ours"):
        load_record(tmp_path / "model.safetensors")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    with pytest.raises(RecordError, match="no record"):
        load_record(tmp_path / "picture.png")
    with pytest.raises(RecordError, match="there is no record file"):
        load_record(tmp_path / "nothing.safetensors")


def data_of(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["daam"])


def rewrite(path: Path, data: Any, **changed: torch.Tensor) -> None:
    """The same tensors with another JSON text, or with some of them changed."""
    text = data if isinstance(data, str) else json.dumps(data)
    save_file({**load_file(path), **changed}, path, {"daam": text})


def places(data: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value of a JSON text; of long lists only the first two."""
    keys = data if isinstance(data, dict) else range(min(2, len(data))) if isinstance(data, list) else ()
    for key in keys:
        yield (*before, key)
        yield from places(data[key], (*before, key))


def test_a_damaged_text_is_a_record_or_named(path: Path) -> None:
    """Whatever stands in place of a value: an error of ours, or maps that can be drawn."""
    data, random = data_of(path), Random(0)
    every = list(places(data))
    for place in random.sample(every, 40):
        for value in (None, -1.5, "x", [], {}):
            copy = json.loads(json.dumps(data))
            parent = functools.reduce(lambda inner, key: inner[key], place[:-1], copy)
            parent[place[-1]] = value
            rewrite(path, copy)
            with contextlib.suppress(RecordError):
                for trace in load_record(path).traces:
                    maps = daam.HeatMaps(trace)
                    assert all(maps[word].values.ndim == 2 for word in maps if word in maps), (place, value)


def test_a_text_that_is_no_record_is_named(path: Path) -> None:
    data = data_of(path)
    without_notes = {key: value for key, value in data.items() if key != "notes"}
    for text in ("[" * 100_000, "null", "[]", "{}", "5", "{", json.dumps(without_notes)):
        rewrite(path, text)
        with pytest.raises(RecordError, match=r"record\.safetensors"):
            load_record(path)


def test_maps_that_do_not_fit_their_columns_are_named(path: Path) -> None:
    data, tensors = data_of(path), load_file(path)
    for kind in ("sum", "detail"):
        name = next(name for name in tensors if f".{kind}." in name)
        rewrite(path, data, **{name: tensors[name][..., :-1, :, :].clone()})
        with pytest.raises(RecordError, match="columns in|maps of"):
            load_record(path)
        rewrite(path, data, **{name: tensors[name]})
    data["images"][0]["texts"][0]["columns"][0] = 76
    rewrite(path, data)
    with pytest.raises(RecordError, match=r"record\.safetensors .* maps of the negative prompt's words"):
        load_record(path)


def test_a_record_has_a_trace_for_each_picture(record: Result) -> None:
    with pytest.raises(RecordError, match="a trace for each of 1 pictures, got 0"):
        Result(record.pictures, [])


def test_no_pickle_is_written_or_read(path: Path, tmp_path: Path) -> None:
    assert b"\x80\x02" not in path.read_bytes()[:2] and not zipfile.is_zipfile(path)
    torch.save({"daam": 1}, tmp_path / "record.pt")
    with pytest.raises(RecordError, match="no record"):
        load_record(tmp_path / "record.pt")


def test_another_version_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "new.safetensors", {"daam": '{"format": "daam record", "version": 9}'})
    with pytest.raises(RecordError, match="is version 9"):
        load_record(tmp_path / "new.safetensors")


def test_a_record_of_the_last_version_is_read_as_it_was() -> None:
    """Written by the version before `Result`, whose report.json said these numbers."""
    loaded = load_record(Path(__file__).parents[1] / "data" / "record-version-2.safetensors")
    assert (loaded.notes.prompt, loaded.notes.seed, loaded.notes.model) == (
        "a [red:green:0.5] (circle:1.2)", 3, "embedded",
    )  # fmt: skip
    assert loaded.notes.settings["steps"] == 2 and set(loaded.notes.seconds) == {"loading", "sampling"}
    rows = {row["term"]: row for row in make_report(loaded)["images"][0]["terms"]}
    strengths = {"a": 0.15264654839112418, "red": 0.21503715360395237, "circle": 0.6323162980049234, "dog": 0.12249478}
    for term, strength in strengths.items():
        assert rows[term]["statistics"]["strength"] == pytest.approx(strength, rel=1e-6)
    assert "never active" in rows["green"]["reason"]


def test_refined_maps_come_back_and_why_there_are_none(tmp_path: Path) -> None:
    settings = daam.GenerationSettings("a red circle", steps=2, height=64, width=72)
    result = daam.generate(sd1(), settings, keep="refined", probe="tree")
    save_record(tmp_path / "refined.safetensors", result)
    loaded = load_record(tmp_path / "refined.safetensors")
    for side, word in (("positive", "circle"), ("probe", "tree")):
        before, after = (maps.heat_maps(side=side).select(reading="refined")[word].values for maps in (result, loaded))
        assert np.array_equal(before, after) and (after != loaded.heat_maps(side=side)[word].values).any()
    without = replace(loaded, traces=[_without_refined(trace) for trace in loaded.traces])
    assert loaded.size > without.size
    save_record(tmp_path / "refused.safetensors", without)
    trace = load_record(tmp_path / "refused.safetensors").traces[0]
    assert trace.not_refined == "the moon is full" and trace.keep == ()


def _without_refined(trace: ImageTrace) -> ImageTrace:
    texts = {key: replace(text, refined=None) for key, text in trace.texts.items()}
    return replace(trace, texts=texts, keep=(), not_refined="the moon is full")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda maps: maps[:1], "expected 2 refined maps"),
        (lambda maps: maps.double(), "expected maps of the refined in float32"),
        (lambda maps: maps * torch.nan, "hold values that are not finite"),
    ],
)
def test_refined_maps_that_do_not_fit_are_named(wrong: Any, said: str, tmp_path: Path) -> None:
    settings = daam.GenerationSettings("a red circle", steps=1, height=64, width=64)
    path = tmp_path / "record.safetensors"
    save_record(path, daam.generate(sd1(), settings, keep="refined"))
    tensors = load_file(path)
    (name,) = (name for name in tensors if name.endswith("refined"))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({**tensors, name: wrong(tensors[name]).contiguous()}, path, metadata=metadata)
    with pytest.raises(RecordError, match=said):
        load_record(path)
