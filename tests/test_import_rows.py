"""The rows of the architecture: a module imports only from rows below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daam"
ROWS = [
    {"errors"},
    {"attention", "prompt", "file_names", "pictures", "scales", "demo_model"},
    {"terms", "rewriting"},
    {"tracing"},
    {"selection", "explanations"},
    {"study"},
    {"heat_maps"},
    {"statistics", "record"},
    {"drawing", "step_animation", "observations"},
    {"study_grid"},
    {"report", "hosts", "viewer"},
    {"app", "webui"},
    {"cli"},
]
"""Lowest first. Within one row nothing is imported from a neighbour."""
HOSTS = {
    "modules": {"webui"},
    "gradio": {"webui", "app"},
    "diffusers": {"hosts", "cli"},
    "transformers": {"hosts", "cli"},
}
"""Packages that only some of our own may import."""


def row_of(name: str) -> int:
    return next(number for number, row in enumerate(ROWS) if name in row)


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def own_name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_rows_below_its_own(path: Path) -> None:
    own = own_name(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "daam" and len(parts) > 1 and parts[1] != own:
            assert row_of(parts[1]) < row_of(own), f"{own} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_hosts_import_what_they_host(path: Path) -> None:
    for name in imported_names(path):
        allowed = HOSTS.get(name.split(".")[0])
        assert allowed is None or own_name(path) in allowed, f"{path} imports {name}"


def test_every_module_says_what_it_is_for() -> None:
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path} has no docstring"
