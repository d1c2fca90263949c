"""The command line, run as a user runs it, on the embedded model."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daam.cli.main import COMMANDS, main
from daam.results.record import load_record, save_record

PROMPT = "a (red:1.2) circle and a blue square on a white background"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `daam PROMPT` writes, with few steps."""
    out = tmp_path_factory.mktemp("out")
    terms = "red, circle, blue square, ../../x, a/b, CON, 猫, unicorn"
    assert (
        main([f"{PROMPT}, ../../x a/b CON 猫", "--steps", "3", "--seed", "7", "--out", str(out), "--terms", terms]) == 0
    )
    (written,) = out.iterdir()
    return written


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and error output of one command."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = int(stop.code or 0)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_the_folder_is_named_after_the_seed_and_holds_every_file(folder: Path) -> None:
    assert folder.name.endswith("-7")
    names = {path.name for path in folder.iterdir()}
    assert {"picture.png", "grid.png", "record.safetensors", "report.json", "report.html", "circle.png"} <= names
    assert len(names) == 5 + 7 + 1, names
    assert (folder / "no-map.txt").read_text().startswith("'unicorn' is not in the prompt; it has: a, red,")


def test_terms_never_escape_the_folder(folder: Path) -> None:
    assert list(folder.parent.iterdir()) == [folder]
    assert all(path.is_file() for path in folder.iterdir())
    assert "猫.png" in {path.name for path in folder.iterdir()}


def test_view_writes_the_page_of_an_earlier_result(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.safetensors").write_bytes((folder / "record.safetensors").read_bytes())
    code, output, _ = run(capsys, "view", str(tmp_path), "--no-browser")
    assert code == 0 and output.strip() == str(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "attention_heatmap" not in page.splitlines()[0] and "attentionHeatmap.viewer.mount" in page
    (tmp_path / "record.safetensors").unlink()
    code, _, errors = run(capsys, "view", str(tmp_path), "--no-browser")
    assert code == 2 and "one record file" in errors


def test_the_picture_has_the_models_size_and_the_grid_is_larger(folder: Path) -> None:
    assert Image.open(folder / "picture.png").size == (128, 128)
    width, height = Image.open(folder / "grid.png").size
    assert width > 3 * 128 and height > 3 * 128


def test_the_report_has_columns_spans_and_statistics_of_every_term(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert report["prompt"].startswith(PROMPT) and report["seed"] == 7 and report["model"] == "embedded"
    rows = {row["term"]: row for row in report["images"][0]["terms"]}
    assert [PROMPT[start:end] for start, end in rows["blue square"]["spans"]] == ["blue square"]
    assert rows["red"]["columns"] == [{"part": 0, "entry": 0, "columns": [2]}]
    assert 0 < rows["circle"]["statistics"]["strength"] < 1
    assert rows["unicorn"]["statistics"] is None and "not in the prompt" in rows["unicorn"]["reason"]
    assert report["seconds"]["sampling"] > 0 and report["versions"]["torch"]


def test_the_record_draws_the_same_tiles_again_without_the_model(folder: Path, tmp_path: Path) -> None:
    started = time.perf_counter()
    code = main(["render", str(folder / "record.safetensors"), "--terms", "circle, red", "--out", str(tmp_path)])
    assert code == 0 and time.perf_counter() - started < 20
    (rendered,) = tmp_path.iterdir()
    assert {path.name for path in rendered.iterdir()} == {"circle.png", "red.png", "grid.png", "report.json"}
    first, second = (np.asarray(Image.open(place / "grid.png")) for place in (folder, rendered))
    assert first.shape != second.shape


def test_opacity_one_shows_the_map_alone_and_zero_the_picture_alone(folder: Path, tmp_path: Path) -> None:
    plain = ["--no-caption", "--image-scale", "1", "--terms", "circle"]
    for opacity in ("0", "1"):
        assert main(["render", str(folder), "--opacity", opacity, "--out", str(tmp_path / opacity), *plain]) == 0
    picture = np.asarray(Image.open(folder / "picture.png").convert("RGB"))
    (bare,), (alone,) = ((tmp_path / opacity).glob("*/circle.png") for opacity in ("0", "1"))
    assert (np.asarray(Image.open(bare)) == picture).all()
    assert (np.asarray(Image.open(alone)) != picture).any()


def test_per_layer_has_a_row_for_each_layer(folder: Path, tmp_path: Path) -> None:
    options = ["--per-layer", "--no-caption", "--image-scale", "1", "--terms", "circle"]
    assert main(["render", str(folder), "--out", str(tmp_path), *options]) == 0
    layers = len(next(iter(load_record(folder / "record.safetensors").traces[0].texts.values())).sums)
    (grid,) = tmp_path.glob("*/grid.png")
    assert Image.open(grid).size[1] >= (layers + 1) * 128


def test_the_same_seed_gives_the_same_picture(folder: Path, tmp_path: Path) -> None:
    prompt = json.loads((folder / "report.json").read_text())["prompt"]
    assert main([prompt, "--steps", "3", "--seed", "7", "--out", str(tmp_path), "--terms", "circle"]) == 0
    (again,) = tmp_path.glob("*/picture.png")
    assert (np.asarray(Image.open(again)) == np.asarray(Image.open(folder / "picture.png"))).all()


def test_a_batch_has_a_picture_and_tiles_for_each_seed(tmp_path: Path) -> None:
    options = ["--steps", "2", "--batch-size", "2", "--terms", "circle", "--negative", "a moon", "--negative-maps"]
    assert main([PROMPT, "--width", "72", "--height", "64", "--out", str(tmp_path), *options]) == 0
    (written,) = tmp_path.iterdir()
    names = {path.name for path in written.iterdir()}
    assert {"picture-1.png", "picture-2.png", "1-circle.png", "2-circle.png", "1-negative-moon.png"} <= names
    assert Image.open(written / "picture-2.png").size == (72, 64)


def test_an_animation_has_a_frame_for_each_step(tmp_path: Path) -> None:
    options = ["--steps", "3", "--terms", "circle", "--animate", "gif", "--out", str(tmp_path)]
    assert main([PROMPT, *options]) == 0
    (written,) = tmp_path.iterdir()
    assert Image.open(written / "circle.gif").n_frames == 3
    assert main(["render", str(written), "--terms", "circle", "--animate", "webp", "--out", str(tmp_path / "r")]) == 0
    (again,) = (tmp_path / "r").iterdir()
    assert (again / "circle.webp").exists()


def test_an_animation_of_a_record_without_steps_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run(capsys, "render", str(folder), "--terms", "circle", "--animate", "gif")
    assert code == 2 and "steps were not kept" in errors and not (folder / "renders").exists()


BAD = {
    "--opacity": ("2", "0 to 1"),
    "--colormap": ("turbow", "turbo"),
    "--scale": ("log", "shared, each, share"),
    "--layout": ("heap", "no-gaps"),
    "--image-scale": ("0", "0.1"),
    "--steps": ("0", "at least 1"),
    "--width": ("100", "multiple of 8"),
    "--height": ("-8", "multiple of 8"),
    "--batch-size": ("0", "at least 1"),
    "--sampler": ("Euler b", "Euler"),
    "--model": ("/no/such.safetensors", "no checkpoint"),
    "--device": ("warp", "cannot be loaded"),
    "--device ": ("meta", "has no numbers"),
    "--dtype": ("int3", "float32"),
    "--guidance-scale": ("-1", "0 to 100"),
    "--seed": ("x", "int"),
    "--terms": ("cat#0", "count from 1"),
    "--out": ("/dev/null/x", "written"),
}


@pytest.mark.parametrize("option", BAD)
def test_a_bad_value_gets_one_line_and_exit_code_2(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    value, expected = BAD[option]
    code, _, errors = run(capsys, "a circle", "--steps", "1", f"{option.strip()}={value}")
    lines = [line for line in errors.splitlines() if line.startswith("daam")]
    assert code == 2 and len(lines) == 1 and expected in lines[0], errors


def test_and_names_the_webui(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run(capsys, "a circle AND a square", "--steps", "1")
    assert code == 2 and "WebUI" in errors


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_fits_a_screen_and_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, *command, "--help")
    lines = output.splitlines()
    assert code == 0 and len(lines) <= 50 and max(map(len, lines)) <= 100
    assert command or 'daam "a red circle' in output


def test_tokens_as_json_follows_the_recorded_form(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "tokens", "--json", "a (cat:1.5)", "--embedding", "mystyle=3", "--steps", "10")
    (part,) = json.loads(output)["parts"]
    column = part["schedule"][0]["columns"][2]
    assert code == 0 and column == {
        "column": 2, "token": 2368, "piece": "cat", "span": [3, 6], "weight": 1.5, "chunk": 0, "kind": "text",
    }  # fmt: skip


def test_tokens_from_a_file_answers_every_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps(["a cat", "(cat:..)"]))
    code, output, _ = run(capsys, "tokens", "--from", str(file))
    good, bad = json.loads(output)
    assert code == 0 and good["parts"] and set(bad) == {"prompt", "error"}


def test_tokens_as_a_table_shows_every_piece(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "tokens", "a [cat:dog:0.5] <lora:x:1>")
    assert code == 0 and "cat" in output and "dog" in output and "<lora:x:1>" in output


def test_a_damaged_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "record.safetensors"
    file.write_bytes(os.urandom(100))
    code, _, errors = run(capsys, "render", str(file))
    assert code == 2 and "no record" in errors


def test_the_map_can_be_chosen_and_changed_later_without_the_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, _ = run(
        capsys, PROMPT, "--steps", "3", "--seed", "7", "--map", "refined", "--out", str(tmp_path / "a")
    )
    (made,) = (tmp_path / "a").iterdir()
    assert code == 0 and "Refined maps are an estimate of each word's region" in output
    code, output, _ = run(
        capsys, "render", str(folder), "--map", "refined", "--terms", "circle", "--out", str(tmp_path / "b")
    )
    (drawn,) = (tmp_path / "b").iterdir()
    assert code == 0 and (drawn / "circle.png").read_bytes() != (folder / "circle.png").read_bytes()
    report = json.loads((made / "report.json").read_text())
    assert report["drawing"]["reading"] == "refined"


def test_a_record_without_refined_maps_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = load_record(folder / "record.safetensors")
    traces = [replace(trace, keep=()) for trace in result.traces]
    save_record(tmp_path / "record.safetensors", replace(result, traces=traces))
    code, _, errors = run(capsys, "render", str(tmp_path), "--map", "refined")
    assert code == 2 and "refined maps were not kept" in errors
