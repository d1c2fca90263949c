"""The record file: everything comes back, and what is no record is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import daam
from daam.errors import RecordError
from daam.record import Record, load_record, save_record
from tests.pipelines import sd1


@pytest.fixture(scope="module")
def record() -> Record:
    prompt = "a [cat:dog:1] \ud800 <lora:x:1>"
    settings = daam.GenerationSettings(prompt, negative="ugly", steps=3, height=64, width=72)
    generation = daam.generate(sd1(), settings, keep=("steps", "heads"), terms="cat")
    return Record(generation.pictures, [generation.tracer.image_trace(0)], {"seed": 5})


@pytest.fixture
def path(record: Record, tmp_path: Path) -> Path:
    save_record(tmp_path / "record.safetensors", record)
    return tmp_path / "record.safetensors"


def test_everything_comes_back(record: Record, path: Path) -> None:
    loaded = load_record(path)
    assert loaded.notes == {"seed": 5}
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
    with pytest.raises(RecordError, match="no record"):
        load_record(tmp_path / "model.safetensors")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    with pytest.raises(RecordError, match="no record"):
        load_record(tmp_path / "picture.png")
    with pytest.raises(RecordError, match="there is no record file"):
        load_record(tmp_path / "nothing.safetensors")


def test_another_version_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "new.safetensors", {"daam": '{"format": "daam record", "version": 9}'})
    with pytest.raises(RecordError, match="is version 9"):
        load_record(tmp_path / "new.safetensors")
