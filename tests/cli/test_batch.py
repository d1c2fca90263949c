"""`daam batch` as a user runs it, on the embedded model."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from daam.cli.batch import make_parser, read_source
from daam.results.record import load_record
from tests.cli.test_cli import run


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a red circle", "id": "one"}\n{"prompt": "a blue square", "negative": "red"}\n')
    return path


def test_a_batch_is_made_once_and_says_what_it_did(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["batch", "--prompts", str(prompts), "-o", str(tmp_path / "out"), "--steps", "2", "--seed", "5"]
    code, output, errors = run(capsys, *arguments)
    assert code == 0 and "2 made in" in output and "an hour" in output and "item" in errors
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["guidance_scale"] == 5.0 and manifest["versions"]["torch"]
    result = load_record(tmp_path / "out" / "items" / "one" / "record.safetensors")
    assert (result.notes.prompt, result.notes.seed, result.notes.settings["steps"]) == ("a red circle", 5, 2)
    assert list(result.heat_maps()) == ["a", "red", "circle"]
    code, output, _ = run(capsys, *arguments)
    assert code == 0 and output.startswith("0 made in")
    code, _, errors = run(capsys, *arguments, "--guidance-scale", "3")
    assert code == 2 and "guidance scale: 5.0 there, 3.0 now" in errors


def test_the_same_item_gives_the_same_record_byte_for_byte(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        assert run(capsys, "batch", "--prompts", str(prompts), "-o", str(tmp_path / name), "--steps", "1")[0] == 0
    records = [sorted((tmp_path / name).glob("items/*/record.safetensors")) for name in ("first", "second")]
    assert len(records[0]) == 2
    assert [path.read_bytes() for path in records[0]] == [path.read_bytes() for path in records[1]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "source: expected one of --prompts, --coco"),
        (["--prompts", "a", "--coco", "b"], "source: expected one of"),
        (["--prompts", "not-there.txt"], "not-there.txt cannot be read: No such file"),
        (["--template", "a {0}"], "expected --words"),
        (["--prompts", "-", "--workers", "many"], "workers: expected a number or auto"),
        (["--prompts", "-", "--workers", "0"], "workers: expected at least 1"),
        (["--prompts", "-", "--sampler", "DPM"], "sampler: expected one of"),
        (["--prompts", "-", "--limit", "0"], "limit: expected at least 1"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a cat\n"))
    code, _, errors = run(capsys, "batch", *arguments, "-o", str(tmp_path / "out"))
    assert code == 2 and said in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_one_line_with_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "p.txt").write_text("a cat\n")
    code, _, errors = run(capsys, "batch", "--prompts", str(tmp_path / "p.txt"), "-o", str(tmp_path / "out"))
    assert code == 2
    assert errors == 'daam: daam batch needs pyarrow: pip install "sd-webui-attention-heatmap[studies]"\n'


def test_unreal_captions_have_nouns_of_other_captions_by_the_parser(tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    captions = ["A cat sits on a boat.", "Two dogs run on the beach.", "An old clock and three cows."]
    rows = [{"id": number, "image_id": 1, "caption": caption} for number, caption in enumerate(captions)]
    (tmp_path / "captions.json").write_text(json.dumps({"annotations": rows}))
    options = make_parser().parse_args(["--coco-unreal", str(tmp_path / "captions.json"), "-o", "x"])
    items, source = read_source(options)
    assert source["shuffle"] == 0 and {item.id for item in items} == {"0", "1", "2"}
    (cat,) = (item for item in items if item.id == "0")
    assert cat.data["original"] == captions[0] and cat.prompt.endswith(".") and " sits on a" in cat.prompt
    assert set(cat.data["nouns"]) <= {"boat", "beach", "clock", "cat"} and "A cat" not in cat.prompt
    (dogs,) = (item for item in items if item.id == "1")
    assert dogs.prompt.startswith("Two cows run on the ")
