"""CONTRIBUTING.md and the map of the tests name what is there, and every folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAP = (ROOT / "tests" / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PLACES = sorted(set(re.findall(r"`((?:daam|tests|tools|javascript|benchmarks|\.ci)/[\w./]*)`", GUIDE)))
REGISTRIES = re.findall(r"`([A-Z_]+)` (?:in|of) `([\w/.]+)`", GUIDE)


@pytest.mark.parametrize("place", PLACES)
def test_every_path_of_the_guide_is_there(place: str) -> None:
    assert (ROOT / place).exists()


@pytest.mark.parametrize(("registry", "file"), REGISTRIES)
def test_every_registry_of_the_guide_is_in_its_file(registry: str, file: str) -> None:
    assert re.search(rf"^ *(const )?{registry}\b.* = ", (ROOT / file).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "folder", sorted(path.parent.name for path in (ROOT / "daam").glob("*/__init__.py")), ids=lambda name: str(name)
)
def test_every_folder_of_the_package_is_in_the_guide(folder: str) -> None:
    assert f"`daam/{folder}`" in GUIDE


def test_every_folder_and_loose_file_of_tests_is_on_the_map() -> None:
    named = set(re.findall(r"`([\w./]+)`", MAP))
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    loose = {path.name for path in (ROOT / "tests").glob("test_*.py")}
    assert folders | loose <= named


def test_make_says_what_the_guide_says_without_it() -> None:
    commands = re.findall(r"^\t@?(?:\$\(PYTHON\) -m )?(.+)$", MAKEFILE, re.MULTILINE)
    for command in ("ruff format --check .", "ruff check .", "mypy", "pytest", "ruff format .", "ruff check --fix ."):
        assert command in commands and command in GUIDE
    fast = re.search(r"^FAST = ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert fast is not None
    for path in fast[1].replace("\\", "").split():
        assert (ROOT / path).exists(), path
