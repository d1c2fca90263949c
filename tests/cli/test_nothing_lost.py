"""What goes wrong on the command line costs no picture, leaves nothing half done, and is said in one sentence."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from daam.cli import generate as command
from daam.cli.main import main
from daam.cli.terminal import say, showable
from daam.hosts import diffusers_models
from daam.results.record import load_record
from tests.tracing.test_finite import names, spoil

PROMPT = "a red circle"
FEW = (PROMPT, "--steps", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert main([*FEW, "--terms", "circle", "--out", str(out)]) == 0
    (written,) = out.iterdir()
    return written


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said as an error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("daam: ")]
    return line


def no_room(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ---- What a terminal can show


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "█ – … 猫 é"),
        ("ascii", "# - ... \\u732b \\xe9"),
        ("cp1252", "# – … \\u732b é"),
        ("cp949", "# - … 猫 \\xe9"),
        (None, "█ – … 猫 é"),
    ],
)
def test_signs_that_a_terminal_has_not_are_told_by_others(encoding: str | None, shown: str) -> None:
    found = showable("█ – … 猫 é", encoding)
    assert found == shown and found.encode(encoding or "utf-8")


def test_a_lone_surrogate_and_a_closed_output_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    say("a \udcff", to=stream)
    stream.flush()
    assert stream.buffer.getvalue() == b"a \\udcff\n"  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", None)
    say("nobody hears it")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp949"])
def test_the_table_and_the_help_come_out_on_a_terminal_that_is_not_utf_8(encoding: str, folder: Path) -> None:
    for arguments in (["render", str(folder), "--terms", "circle, 猫", "--out", str(folder.parent / encoding)], ["-h"]):
        done = subprocess.run(
            [sys.executable, "-m", "daam.cli.main", *arguments],
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode(encoding)
        expected = str(folder.parent / encoding) if arguments[0] == "render" else "daam generate"
        assert expected in done.stdout.decode(encoding)


# ---- Refused before the generation


@pytest.fixture
def never_generates(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(diffusers_models, "_load", fail)


@pytest.mark.usefixtures("never_generates")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a \udcff circle"], "expected arguments in UTF-8, got 'a \\udcff circle'"),
        ([PROMPT, "--negative", "\udcff"], "expected arguments in UTF-8"),
        ([PROMPT, "--device", "meta"], "got 'meta', which has no numbers"),
        ([PROMPT, "--out", "/proc/daam"], "out: expected a folder that can be written to, got /proc/daam"),
    ],
)
def test_what_cannot_end_well_is_refused_at_once(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert expected in told(capsys) and list(tmp_path.iterdir()) == []


# ---- The picture is kept


def test_a_full_disk_in_the_end_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("daam.cli.output.report_html", no_room)
    assert main([*FEW, "--out", str(tmp_path / "out")]) == 2
    line = told(capsys)
    (kept,) = (tmp_path / "out").iterdir()
    assert "No space left on device; the picture is in " in line and line.endswith(str(kept))
    assert {path.name for path in kept.iterdir()} == {"picture.png", "record.safetensors"}


def test_where_its_folder_takes_nothing_the_picture_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder becomes read-only while the model samples."""
    whole = command.write_result

    def read_only(folder: Path, *arguments: Any) -> Any:
        (tmp_path / "out").rename(tmp_path / "gone")
        (tmp_path / "out").touch()
        return whole(folder, *arguments)

    monkeypatch.setattr(command, "write_result", read_only)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([*FEW, "--out", str(tmp_path / "out")]) == 2
    (kept,) = (tmp_path / "here").iterdir()
    assert kept.name.startswith("daam-") and told(capsys).endswith(f"the picture is in {kept}")
    assert Image.open(kept / "picture.png").size == (128, 128) and load_record(kept / "record.safetensors")


def test_maps_that_cannot_be_drawn_cost_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FEW, "--layers", "bogus", "--out", str(tmp_path)]) == 2
    (kept,) = tmp_path.iterdir()
    line = told(capsys)
    assert line.startswith("daam: no layer is left of ") and line.endswith(f"the picture is in {kept}")
    assert {path.name for path in kept.iterdir()} == {"picture.png", "record.safetensors"}


def test_where_no_folder_takes_it_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("daam.cli.output.write_pictures", no_room)
    assert main([*FEW, "--out", str(tmp_path)]) == 2
    assert "no folder took the picture, so it is lost" in told(capsys) and list(tmp_path.iterdir()) == []


def test_an_interruption_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("daam.hosts.diffusers_generate.generate", interrupt)
    assert main([*FEW, "--out", str(tmp_path / "out")]) == 130
    assert told(capsys) == "daam: interrupted" and list(tmp_path.iterdir()) == []


def test_a_model_without_room_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def out_of_memory(*_: Any, **__: Any) -> Any:
        raise RuntimeError("not enough memory: you tried to allocate 9 TB\nmore of it")

    monkeypatch.setattr("daam.hosts.diffusers_generate.generate", out_of_memory)
    assert main([*FEW, "--out", str(tmp_path / "out")]) == 2
    assert told(capsys).endswith("the picture cannot be generated: not enough memory: you tried to allocate 9 TB")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_gives_nan_is_named_and_its_picture_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load, layers = diffusers_models._load, []

    def spoilt(model: str) -> Any:
        pipeline = load(model)
        layers.append(names(pipeline)[3])
        spoil(pipeline, layers[0], from_call=1)
        return pipeline

    monkeypatch.setattr(diffusers_models, "_load", spoilt)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([PROMPT, "--steps", "3", "--out", str(tmp_path)]) == 2
    (kept,) = tmp_path.iterdir()
    line = told(capsys)
    assert f"of {layers[0]} is not finite" in line and "from model call 2 on" in line and line.endswith(str(kept))
    assert [path.name for path in kept.iterdir()] == ["picture.png"]


def test_tokens_as_json_hold_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "--json", f"a (cat:1{'0' * 400})"]) == 2
    data = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert "error" in data and "parts" not in data


# ---- Earlier results


def test_a_result_that_is_read_only_is_viewed_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_text = Path.write_text

    def read_only(path: Path, *arguments: Any) -> int:
        if folder in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return write_text(path, *arguments)

    monkeypatch.setattr(Path, "write_text", read_only)
    assert main(["view", str(folder), "--no-browser"]) == 2
    line = told(capsys)
    assert "Read-only file system; choose another place with --out FOLDER" in line
    assert main(["view", str(folder), "--no-browser", "--out", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "report.html")
    assert "attentionHeatmap" in (tmp_path / "new" / "report.html").read_text("utf-8")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_render_that_does_not_fit_leaves_no_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("daam.cli.render.write_report", no_room)
    assert main(["render", str(folder), "--terms", "circle", "--out", str(tmp_path / "out")]) == 2
    assert "cannot be written: No space left on device" in told(capsys) and list(tmp_path.iterdir()) == []


def test_thousands_of_unknown_terms_are_one_file_and_eight_grey_tiles(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = ", ".join(["circle", *(f"word{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh")])
    plain = ["--no-caption", "--image-scale", "1", "--layout", "no-gaps"]
    assert main(["render", str(folder), "--terms", terms, "--out", str(tmp_path), *plain]) == 0
    (written,) = tmp_path.iterdir()
    assert {path.name for path in written.iterdir()} == {"circle.png", "grid.png", "no-map.txt", "report.json"}
    assert len((written / "no-map.txt").read_text().splitlines()) == 64
    grid = np.asarray(Image.open(written / "grid.png"))
    assert grid.shape[0] * grid.shape[1] <= 12 * 128 * 128  # picture, circle and eight grey ones
    assert "and 44 more without a map; no-map.txt says why" in capsys.readouterr().out
    rows = json.loads((written / "report.json").read_text())["images"][0]["terms"]
    assert len(rows) == 65 and all(row["reason"] for row in rows[1:])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no Linux")
def test_an_output_that_cannot_be_written_or_is_read_no_further_is_no_traceback() -> None:
    tokens = [sys.executable, "-m", "daam.cli.main", "tokens", "a " * 2000]
    with open("/dev/full", "w") as full:
        done = subprocess.run(tokens, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "daam: No space left on device\n")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(tokens, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
