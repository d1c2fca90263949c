"""Heat maps of the embedded model against the masks of scenes that were drawn and painted over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.painted_scenes import write_scenes
from daam.studies.evaluation.masks import read_mask
from tests.cli.test_cli import run

for name in ("pandas", "pycocotools", "scipy", "pyarrow"):
    pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    assert write_scenes(folder, 14, seed=1) < 0.06  # the model kept what was drawn
    return folder


def test_the_maps_fit_the_objects_better_than_every_baseline(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "evaluate", str(scenes))
    assert code == 0 and "missing predictions" in output and "(" in output
    results = json.loads((scenes / "evaluation" / "results.json").read_text())["results"]["0.4"]
    assert results["iou"]["n"] >= 20 and results["missing"] == 0
    assert results["iou"]["value"] >= 0.50
    assert results["iou"]["low"] > max(
        results[f"iou_{name}"]["high"] for name in ("whole_picture", "centred_disc", "other_noun")
    )
    assert results["peak_on_object"]["value"] > 0.9
    assert (scenes / "evaluation" / "iou.png").read_bytes().startswith(b"\x89PNG")


def test_masks_that_are_written_are_those_of_the_maps(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(scenes), "--json", "--thresholds", "0.4"]
    _, output, _ = run(capsys, *arguments, "--write-masks")
    _, again, _ = run(capsys, *arguments, "--prefix", "daam-0.4")
    first, second = json.loads(output), json.loads(again)
    assert first["results"]["0.4"]["iou"] == second["results"]["0.4"]["iou"]
    assert any("from files" in note for note in second["notes"])
    mask, remark = read_mask(next(scenes.glob("00000/*.daam-0.4.pred.png")))
    assert mask.any() and remark is None


def test_what_has_no_record_is_generated_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from daam.studies.evaluation.masks import write_mask

    place = tmp_path / "one"
    place.mkdir()
    (place / "prompt.txt").write_text("a red circle")
    (place / "seed.txt").write_text("2")
    write_mask(place / "circle.gt.png", np.ones((128, 128), bool))
    _, output, _ = run(capsys, "evaluate", str(tmp_path), "--json", "--thresholds", "0.4")
    assert json.loads(output)["results"]["0.4"]["missing"] == 1
    _, output, _ = run(capsys, "evaluate", str(tmp_path), "--json", "--thresholds", "0.4", "--generate", "--steps", "2")
    scores = json.loads(output)["results"]["0.4"]
    assert scores["missing"] == 0 and scores["iou"]["value"] == pytest.approx(scores["area"]["value"])
    assert (place / "record.safetensors").is_file() and (place / "output.png").is_file()
