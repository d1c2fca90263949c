"""A folder as the DAAM authors' code reads it, made by hand, with scores that are worked out by hand."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from daam.errors import RecordError, SettingError
from daam.studies.evaluation.folders import find_places
from daam.studies.evaluation.masks import read_mask
from tests.cli.test_cli import run
from tests.results.test_stranger_records import EPS

pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("pycocotools", reason="pycocotools is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")


class Booby:
    """Whoever unpickles it makes a file."""

    def __init__(self, trace: Path):
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._trace}",)


def mask(path: Path, rows: slice, columns: slice, size: int = 8, mode: str = "RGBA") -> None:
    values = np.zeros((size, size), np.uint8)
    values[rows, columns] = 255
    if mode == "RGBA":
        pixels = np.repeat(values[..., None], 4, axis=2)
        pixels[..., :3] = 7  # the alpha alone counts
        Image.fromarray(pixels).save(path)
    else:
        Image.fromarray(values).convert(mode).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Items with two words, a missing prediction, one of another size, a composite, a subtype; one without truth."""
    for name in ("two", "missing", "size", "composite", "sub", "untrue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prompt.txt").write_text(f"a picture of {name}")
        (tmp_path / name / "seed.txt").write_text("3")
    left, right, top = slice(0, 4), slice(4, 8), slice(0, 4)
    everywhere = slice(0, 8)
    mask(tmp_path / "two" / "cat.gt.png", everywhere, left)  # 32 pixels
    mask(tmp_path / "two" / "Hot Dog.gt.png", everywhere, right)
    mask(tmp_path / "two" / "cat.daam.pred.png", top, everywhere)  # 16 in common of 48: 1/3
    mask(tmp_path / "two" / "hot dog.daam.pred.png", everywhere, right)  # 1
    mask(tmp_path / "missing" / "cat.gt.png", everywhere, left)
    mask(tmp_path / "size" / "dog.gt.png", everywhere, left, mode="L")
    mask(tmp_path / "size" / "dog.daam.pred.png", slice(0, 2), slice(0, 2), size=4)  # 16 of 32: 1/2
    mask(tmp_path / "composite" / "dog.gt.png", everywhere, left)
    numbers = np.zeros((8, 8), np.uint8)
    numbers[:6, :4], numbers[:, 4:] = 2, 1  # dog is the second of the vocabulary: 24 of 32, 3/4
    Image.fromarray(numbers).save(tmp_path / "composite" / "composite.daam.pred.png")
    mask(tmp_path / "sub" / "cat.gt.png", everywhere, left)
    (tmp_path / "sub" / "other").mkdir()
    mask(tmp_path / "sub" / "other" / "cat.daam.pred.png", everywhere, slice(0, 6))  # 32 of 48: 2/3
    (tmp_path / "two" / "generation.pt").write_bytes(pickle.dumps(Booby(tmp_path / "ran")))
    (tmp_path / "words.txt").write_text("cat\ndog\nhot dog\n")
    return tmp_path


def evaluate(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, output, errors = run(capsys, "evaluate", str(root), "--json", "--thresholds", "0.4", *arguments)
    assert code == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def test_the_layout_is_read_as_it_lies(root: Path) -> None:
    places = {place.name: place for place in find_places(root)}
    assert list(places) == ["composite", "missing", "size", "sub/other", "two", "untrue"]
    two = places["two"]
    assert (two.prompt, two.seed) == ("a picture of two", 3)
    assert set(two.truth) == set(two.predictions) == {"cat", "hot dog"}
    assert places["composite"].composite is not None and not places["composite"].predictions
    assert places["sub/other"].truth == {"cat": root / "sub" / "cat.gt.png"}
    assert [place.name for place in find_places(root, subtype="other")] == ["sub/other"]


def test_the_scores_are_those_that_are_worked_out_by_hand(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(root, capsys, "--vocabulary", str(root / "words.txt"), "--csv")
    scores = found["results"]["0.4"]
    expected = [1 / 3, 1, 0, 1 / 2, 3 / 4, 2 / 3]
    assert scores["iou"]["value"] == pytest.approx(np.mean(expected))
    assert (scores["iou"]["n"], scores["missing"], scores["true_masks"]) == (6, 1, 6)
    assert scores["iou"]["low"] is None and scores["iou"]["why_no_interval"] == "no interval below 10 captions"
    assert scores["iou_whole_picture"]["value"] == pytest.approx(1 / 2)
    other = {"cat": 0.0, "hot dog": 1 / 3}  # in "two": hot dog's mask beside cat, and cat's on hot dog
    assert scores["iou_other_noun"]["value"] == pytest.approx(np.mean(list(other.values())))
    assert found["results"]["pictures_without_truth"] == 1
    notes = " ".join(found["notes"])
    assert "of another size" in notes and "masks without alpha" in notes
    lines = (root / "evaluation" / "samples.csv").read_text().splitlines()
    assert len(lines) == 7 and lines[0].startswith("item,subtype,label,threshold")
    page = (root / "evaluation" / "report.html").read_text()
    assert "http" not in page and "mIoU" in page
    assert "| missing predictions | 1 of 6 |" in (root / "evaluation" / "table.md").read_text()


def test_missing_predictions_can_be_left_out_and_are_still_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(root, capsys, "--vocabulary", str(root / "words.txt"), "--protocol", "castorini")
    scores = found["results"]["0.4"]
    assert scores["iou"]["value"] == pytest.approx(np.mean([1 / 3, 1, 1 / 2, 3 / 4, 2 / 3]))
    assert (scores["iou"]["n"], scores["missing"]) == (5, 1)
    assert found["settings"]["mask_rule"] == "minmax" and found["settings"]["missing"] == "skip"


def test_nothing_is_ever_unpickled(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(root, capsys, "--vocabulary", str(root / "words.txt"))
    assert not (root / "ran").exists()
    with (root / "two" / "generation.pt").open("rb") as file:
        pickle.load(file)
    assert (root / "ran").exists()  # so the trap is one


def test_a_composite_without_a_vocabulary_is_refused_or_matched(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run(capsys, "evaluate", str(root), "--json")
    assert code == 2 and "need a --vocabulary, or --match best or hungarian" in errors
    scores = evaluate(root, capsys, "--match", "best")["results"]["0.4"]
    expected = [1 / 3, 1, 0, 1 / 2, 3 / 4, 2 / 3]
    assert scores["iou"]["value"] == pytest.approx(np.mean(expected))


def test_labels_are_assigned_for_all_pictures_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left, right = slice(0, 4), slice(4, 8)
    everywhere = slice(0, 8)
    for number in range(3):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "prompt.txt").write_text("x")
        mask(place / "cat.gt.png", everywhere, left)
        mask(place / "dog.gt.png", everywhere, right)
        labels = np.full((8, 8), 1, np.uint8)
        labels[:, 4:] = 2
        # 1 is the cat's side in two pictures of three; in the last one the numbers are the other way round
        Image.fromarray(labels if number < 2 else 3 - labels).save(place / "composite.daam.pred.png")
    scores = evaluate(tmp_path, capsys, "--match", "hungarian")["results"]["0.4"]
    assert scores["iou"]["value"] == pytest.approx(2 / 3)
    assert evaluate(tmp_path, capsys, "--match", "best")["results"]["0.4"]["iou"]["value"] == 1


def test_words_of_a_group_are_one_label(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "words.txt").write_text("animal: cat, dog\n")
    found = evaluate(root, capsys, "--match", "best", "--vocabulary", str(root / "words.txt"))
    assert found["results"]["0.4"]["true_masks"] == 5  # no hot dog
    assert any("not in the vocabulary" in note for note in found["notes"])
    (root / "words.txt").write_text("animal: cat\nfood: cat\n")
    code, _, errors = run(capsys, "evaluate", str(root), "--vocabulary", str(root / "words.txt"))
    assert code == 2 and "'cat' belongs to 'animal' and to 'food'" in errors


@pytest.mark.parametrize(("name", "labels", "word", "label"), [
    ("coco80", 80, "hot dog", "hot dog"), ("coco27", 27, "giraffe", "animal"), ("coco27", 27, "grass", "plant"),
])  # fmt: skip
def test_the_vocabularies_of_coco_are_whole(name: str, labels: int, word: str, label: str) -> None:
    from daam.studies.evaluation.vocabularies import load_vocabulary

    found = load_vocabulary(name)
    assert len(set(found.labels)) == labels and found.label(word) == label and found.label("unicorn") is None


def test_annotations_in_cocos_format_are_true_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prompt.txt").write_text("x")
        mask(tmp_path / name / "cat.daam.pred.png", slice(0, 8), slice(0, 4))
    square = {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "area": 16, "bbox": [0, 0, 4, 4], "iscrowd": 0}
    lower = {
        **square,
        "segmentation": {"counts": [4, 4, 4, 4, 4, 4, 4, 4, 32], "size": [8, 8]},
    }  # columns 0 to 3, rows 4 to 7
    annotations = {
        "images": [
            {"id": 1, "file_name": "items/a/output.png", "width": 8, "height": 8},
            {"id": 7, "file_name": "b.png", "width": 8, "height": 8},
        ],
        "categories": [{"id": 5, "name": "Cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, **square},
            {"id": 2, "image_id": 1, "category_id": 5, **lower},
            {"id": 3, "image_id": 7, "category_id": 5, **square},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(annotations))
    scores = evaluate(tmp_path, capsys, "--annotations", str(path))["results"]["0.4"]
    assert scores["iou"]["value"] == pytest.approx(np.mean([1, 1 / 2]))
    path.write_text("[]")
    code, _, errors = run(capsys, "evaluate", str(tmp_path), "--annotations", str(path))
    assert code == 2 and "expected annotations in COCO's format" in errors


def test_what_is_no_picture_is_left_out_and_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "two" / "cat.daam.pred.png").write_bytes(b"no picture")
    found = evaluate(root, capsys, "--vocabulary", str(root / "words.txt"))
    assert found["results"]["0.4"]["true_masks"] == 4
    assert any("left out" in note and "two" in note for note in found["notes"])


def test_no_other_program_is_started_on_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript."""
    started: list[Any] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **named: started.append(given))
    path = tmp_path / "cat.gt.png"
    path.write_bytes(EPS)
    with pytest.raises(RecordError, match="no PNG that can be read"):
        read_mask(path)
    assert not started


@pytest.mark.parametrize(("arguments", "said"), [
    (["--thresholds", "a"], "thresholds: expected numbers"), (["--thresholds", "2"], "thresholds: expected 0..1"),
    (["--mask-rule", "x"], "mask rule: expected max, minmax, absolute"), (["--map", "x"], "map: expected plain, "),
    (["--vocabulary", "x"], "vocabulary: expected none, coco27, coco80, or a file"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(
    arguments: list[str], said: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = run(capsys, "evaluate", str(root), *arguments)
    assert code == 2 and said in errors and errors.count("\n") == 1


def test_a_folder_without_prompts_or_truth_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run(capsys, "evaluate", str(tmp_path))
    assert code == 2 and "expected folders with a prompt.txt" in errors
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "prompt.txt").write_text("x")
    with pytest.raises(SettingError):
        list(find_places(tmp_path / "nowhere"))
    code, _, errors = run(capsys, "evaluate", str(tmp_path))
    assert code == 2 and "expected pictures with true masks" in errors
