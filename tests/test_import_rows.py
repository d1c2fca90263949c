"""The rows of the architecture: the folders of `daam/`, each of which imports only from rows below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daam"
ROWS = [
    {"errors", "version", "demo_model"},
    {"extras"},
    {"prompt", "pictures"},
    {"rewriting", "tracing"},
    {"maps"},
    {"results"},
    {"studies", "hosts"},
    {"app", "webui"},
    {"cli"},
]
"""Lowest first. Within one row nothing is imported from a neighbour."""
MODULES = {"errors.py", "extras.py", "version.py", "__init__.py", "py.typed"}
"""What stands beside the folders."""
HOSTS = {
    "modules": ("webui/hosts/", "webui/registration.py"),
    "gradio": ("webui/", "app/"),
    "diffusers": ("hosts/", "cli/"),
    "transformers": ("hosts/", "cli/"),
    **dict.fromkeys(
        ["ray", "spacy", "scipy", "pandas", "pyarrow", "pycocotools"], ("no file: `extras.need` gets them",)
    ),
}
"""Packages that only some of our own files may import: what their paths begin with."""


def row_of(name: str) -> int:
    return next(number for number, row in enumerate(ROWS) if name in row)


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def own_name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(source: str) -> list[str]:
    """Full names: what `from daam import x` takes is `daam.x`."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def imports_upwards(own: str, source: str) -> list[str]:
    """What a module of the room `own` imports from its own row or from above; importing the whole package too."""
    found = []
    for name in imported_names(source):
        parts = name.split(".")
        if not parts[0]:
            found.append(name)  # relative: which room it names cannot be read off the line
        elif parts[0] == "daam" and (len(parts) == 1 or parts[1] != own):
            room = parts[1] if len(parts) > 1 else ""
            if not any(room in row for row in ROWS) or row_of(room) >= row_of(own):
                found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_rows_below_its_own(path: Path) -> None:
    assert imports_upwards(own_name(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from daam import cli",
        "import daam.cli.main",
        "from daam.webui import script",
        "import daam",
        "from daam import trace",
    ],
)
def test_an_import_from_above_is_seen_however_it_is_written(source: str) -> None:
    assert imports_upwards("prompt", source) != []


def test_an_import_from_below_is_allowed() -> None:
    assert imports_upwards("maps", "from daam.tracing.plan import Side\nfrom daam import errors") == []


def test_the_package_holds_folders_and_little_else() -> None:
    beside = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    rooms = {name for row in ROWS for name in row}
    assert {name for name in beside if (PACKAGE / name).is_file()} == MODULES
    assert {name for name in beside if (PACKAGE / name).is_dir()} <= rooms


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_hosts_import_what_they_host(path: Path) -> None:
    for name in imported_names(path.read_text("utf-8")):
        allowed = HOSTS.get(name.split(".")[0])
        own = path.relative_to(PACKAGE).as_posix()
        assert allowed is None or own.startswith(allowed), f"{path} imports {name}"


def test_every_module_says_what_it_is_for() -> None:
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path} has no docstring"


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "tools").rglob("*.py")), ids=lambda path: path.stem)
def test_tools_import_nothing_of_the_benchmarks(path: Path) -> None:
    assert [name for name in imported_names(path.read_text("utf-8")) if name.startswith("benchmarks")] == []
