"""Finds what can be evaluated in a folder: a batch of ours, or the layout that the DAAM authors' code reads.

    ROOT/<id>/prompt.txt, seed.txt, <word>.gt.png, annotations.json
    ROOT/<id>/<subtype, or here>/output.png, <word>.<prefix>.pred.png, composite.<prefix>.pred.png, record.safetensors

Their `generation.pt` is never opened: to unpickle a file is to run whatever it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daam.errors import SettingError
from daam.studies.batch.folder import ANNOTATIONS, PICTURE, PROMPT, RECORD, SEED
from daam.studies.batch.plan import MANIFEST

TRUTH = ".gt.png"
HERE = "."
"""The subtype of what lies beside the prompt."""


@dataclass(frozen=True)
class Place:
    """One picture that can be evaluated.

    Attributes:
        id: name of its folder.
        subtype: name of the folder in it that holds picture and predictions; "." is itself.
        folder: where these lie.
        prompt, seed: None where there is no such file.
        truth: file of each word's mask, by the word in small letters.
        predictions: the same for the masks that were made by others, of one prefix.
        composite: one file with the number of a label in each pixel.
    """

    id: str
    subtype: str
    folder: Path
    prompt: str | None = None
    seed: int | None = None
    truth: Mapping[str, Path] = field(default_factory=dict)
    predictions: Mapping[str, Path] = field(default_factory=dict)
    composite: Path | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.id if self.subtype == HERE else f"{self.id}/{self.subtype}"

    @property
    def record(self) -> Path | None:
        path = self.folder / RECORD
        return path if path.is_file() else None

    @property
    def picture(self) -> Path | None:
        path = self.folder / PICTURE
        return path if path.is_file() else None


def root_of(folder: Path) -> Path:
    """Where the items lie: in `items` of a batch's folder, else in the folder itself."""
    return folder / "items" if (folder / MANIFEST).is_file() else folder


def find_places(folder: Path, prefix: str = "daam", subtype: str | None = None) -> Iterator[Place]:
    """Every picture of a folder, in the order of the ids.

    Args:
        prefix: of the predictions.
        subtype: only these; None is all.

    Raises:
        SettingError: there is no such folder, or nothing in it has a prompt.
    """
    root = root_of(folder)
    if not root.is_dir():
        raise SettingError(f"expected a folder, there is none at {root}")
    is_empty = True
    for path in sorted(root.iterdir()):
        if not (path / PROMPT).is_file():
            continue
        is_empty = False
        common: dict[str, Any] = {
            "prompt": _text(path / PROMPT),
            "seed": _seed(path / SEED),
            "truth": {_word(mask, TRUTH): mask for mask in sorted(path.glob(f"*{TRUTH}"))},
            "annotations": _annotations(path / ANNOTATIONS),
        }
        for name in _subtypes(path):
            if subtype is not None and name != subtype:
                continue
            own = path / name
            ending, composite = f".{prefix}.pred.png", own / f"composite.{prefix}.pred.png"
            predictions = {_word(mask, ending): mask for mask in sorted(own.glob(f"*{ending}")) if mask != composite}
            yield Place(
                path.name, name, own, predictions=predictions, composite=composite if composite.is_file() else None,
                **common,
            )  # fmt: skip
    if is_empty:
        raise SettingError(f"expected folders with a {PROMPT} in {root}, it has none")


def _subtypes(path: Path) -> list[str]:
    """The folders in it with a picture or a prediction; itself where it has one, or no other has."""
    inner = [each.name for each in sorted(path.iterdir()) if each.is_dir() and _has_result(each)]
    return [HERE, *inner] if _has_result(path) or not inner else inner


def _has_result(path: Path) -> bool:
    return (path / PICTURE).is_file() or (path / RECORD).is_file() or any(path.glob("*.pred.png"))


def _word(path: Path, ending: str) -> str:
    return path.name[: -len(ending)].lower()


def _text(path: Path) -> str | None:
    return path.read_text("utf-8", errors="replace").strip() if path.is_file() else None


def _seed(path: Path) -> int | None:
    text = _text(path) or ""
    return int(text) if text.isdigit() else None


def _annotations(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SettingError(f"{path}: expected JSON: {error}") from error
    return data if isinstance(data, dict) else {"annotations": data}
