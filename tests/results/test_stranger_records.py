"""A record is a file from a stranger: what is in it is checked before anything is done with it."""

from __future__ import annotations

import io
import json
import math
import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import daam
from daam.errors import RecordError
from daam.results import record as record_module
from daam.results.record import load_record, save_record
from daam.results.report import make_report, to_json
from daam.results.result import Notes, Result
from daam.results.viewer.page import safe_json
from tests.pipelines import sd1

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 72 64\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture(scope="module")
def result() -> Result:
    made = daam.generate(sd1(), daam.GenerationSettings("a cat", steps=2, height=64, width=72), keep="steps")
    return Result(made.pictures, made.traces, notes=Notes("a cat", seed=5, settings={"steps": 2}))


@pytest.fixture
def path(result: Result, tmp_path: Path) -> Path:
    save_record(tmp_path / "record.safetensors", result)
    return tmp_path / "record.safetensors"


def change(path: Path, spoil: Callable[[Any, dict[str, torch.Tensor]], None]) -> None:
    """Writes the file again with its text and its tensors changed."""
    with safe_open(path, framework="pt") as file:
        data = json.loads(file.metadata()["daam"])
    tensors = load_file(path)
    spoil(data, tensors)
    save_file(tensors, path, {"daam": json.dumps(data)})


def bytes_of(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def refused(path: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(RecordError) as caught:
        load_record(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def image_bytes(kind: str, size: tuple[int, int] = (72, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, kind)
    return buffer.getvalue()


def declared_png(width: int, height: int) -> bytes:
    """A PNG whose head declares a size, with next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_picture_of_another_format_than_png_is_never_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **named: started.append(given))
    for content in (EPS, image_bytes("BMP"), image_bytes("TIFF"), image_bytes("GIF"), b"x", b"\x89PNG\r\n\x1a\n"):
        change(path, lambda data, tensors, content=content: tensors.update({"0.picture": bytes_of(content)}))
        assert "PNG" in refused(path)
    assert not started


def test_the_declared_size_is_compared_with_the_pictures(path: Path) -> None:
    for size in ([20_000, 20_000], [100_000, 100_000], [64, 73], [72, 64]):
        change(path, lambda data, tensors, size=size: data["images"][0].update(picture_size=size))
        assert f"{size[0]}x{size[1]}" in refused(path) and "64x72" in refused(path)


def test_a_picture_that_only_declares_a_size_is_not_unpacked(path: Path) -> None:
    for width, height in ((20_000, 20_000), (100_000, 100_000), (12_000, 12_000), (10**9, 10**9)):

        def spoil(data: Any, tensors: dict[str, torch.Tensor], width: int = width, height: int = height) -> None:
            data["images"][0]["picture_size"] = [height, width]
            tensors["0.picture"] = bytes_of(declared_png(width, height))

        change(path, spoil)
        assert "picture" in refused(path)


@pytest.mark.parametrize("kind", ["sum", "detail"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32, torch.uint8])
def test_maps_that_are_not_float32_are_named(path: Path, kind: str, dtype: torch.dtype) -> None:
    def spoil(data: Any, tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in tensors if f".{kind}." in name)
        tensors[name] = tensors[name].to(dtype)

    change(path, spoil)
    assert "float32" in refused(path)


@pytest.mark.parametrize("kind", ["sum", "detail"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_maps_that_are_not_finite_are_named(path: Path, kind: str, value: float) -> None:
    def spoil(data: Any, tensors: dict[str, torch.Tensor]) -> None:
        tensors[next(name for name in tensors if f".{kind}." in name)].view(-1)[3] = value

    change(path, spoil)
    assert "not finite" in refused(path)


@pytest.mark.parametrize("seed", ["x", "5", None, 1.5, True, [], {}, 10**30])
def test_a_seed_that_is_no_number_is_named(path: Path, seed: Any) -> None:
    change(path, lambda data, tensors: data["notes"].update(seed=seed))
    assert "seed" in refused(path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_of_the_text_that_is_not_finite_is_named(path: Path, value: str) -> None:
    with safe_open(path, framework="pt") as file:
        text = file.metadata()["daam"]
    assert '"steps": 2' in text
    save_file(load_file(path), path, {"daam": text.replace('"steps": 2', f'"steps": {value}')})
    assert "not finite" in refused(path)


@pytest.mark.parametrize("calls", [-1, 10**12, "3", None, 1.5, True])
def test_a_number_of_calls_that_cannot_be_is_named(path: Path, calls: Any) -> None:
    change(path, lambda data, tensors: data["images"][0].update(calls=calls))
    assert "calls" in refused(path)


def test_steps_that_the_calls_do_not_have_are_named(path: Path) -> None:
    def spoil(data: Any, tensors: dict[str, torch.Tensor]) -> None:
        steps = data["images"][0]["texts"][0]["steps"]
        steps.update({layer: [0, 7] for layer in steps})

    change(path, spoil)
    assert "step" in refused(path)


def test_a_record_without_pictures_is_named(path: Path) -> None:
    change(path, lambda data, tensors: data.update(images=[]))
    assert "no picture" in refused(path)


def test_what_stands_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.safetensors"
    os.mkfifo(fifo)
    assert "no file" in refused(fifo)
    assert "no file" in refused(tmp_path)
    assert "no file" in refused(Path("/dev/zero"))
    assert "there is no record file" in refused(tmp_path / "nothing.safetensors")
    assert "there is no record file" in refused(Path("/dev/null/nothing.safetensors"))


def test_a_record_that_may_not_be_read_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # permissions do not hold for root
    assert refused(path) == f"{path} cannot be read: Permission denied"


def test_a_foreign_safetensors_file_is_not_called_damaged(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    for metadata in (None, {"format": "pt"}, {"daam": '{"format": "lora", "version": 2}'}):
        save_file({"a": torch.zeros(2)}, file, metadata)
        assert "not a record of ours" in refused(file) and "damaged" not in refused(file)


def test_a_record_has_the_mode_of_its_neighbours(result: Result, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_record(tmp_path / "record.safetensors", result)
        (tmp_path / "neighbour.json").write_text("{}")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o644}


def test_a_record_that_cannot_be_written_leaves_nothing_and_keeps_the_earlier_one(
    result: Result, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fill(tensors: Any, target: Path, metadata: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record_module, "save_file", fill)
    with pytest.raises(RecordError, match="cannot be written: No space left on device"):
        save_record(path, result)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    with pytest.raises(RecordError, match="cannot be written"):
        save_record(path.parent / "nowhere" / "record.safetensors", result)


def test_maps_of_another_size_than_the_picture_are_refused_when_they_are_saved(result: Result, tmp_path: Path) -> None:
    other = Result([Image.new("RGB", (80, 64))], result.traces)
    with pytest.raises(RecordError, match="64x80.*64x72"):
        save_record(tmp_path / "record.safetensors", other)
    assert not list(tmp_path.iterdir())


def test_json_holds_no_number_that_is_not_finite(result: Result) -> None:
    report = make_report(Result(result.pictures, result.traces, notes=Notes(seconds={"sampling": math.nan})))
    with pytest.raises(RecordError, match="not finite"):
        to_json(report)
    with pytest.raises(ValueError, match="JSON"):
        safe_json({"strength": math.nan})
    with pytest.raises(RecordError, match="not finite"):
        save_record(
            Path("never-written"), Result(result.pictures, result.traces, notes=Notes(settings={"a": math.inf}))
        )


def test_what_is_known_of_a_generation_comes_back(result: Result, path: Path) -> None:
    noted = Result(result.pictures, result.traces, notes=Notes(seed=3, remarks=("it was interrupted",)))
    save_record(path, noted)
    assert load_record(path).notes == noted.notes
    assert np.array_equal(np.asarray(load_record(path).pictures[0]), np.asarray(result.pictures[0]))
