"""The packages that ours is measured against, from checkouts that whoever measures brings. No line of them is here."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

ALIAS = "castorini_daam"
"""castorini's package has our package's name."""


@contextmanager
def castorini_trace(checkout: Path, pipeline: Any) -> Iterator[None]:
    """castorini/daam, the library of the paper's authors, watches a pipeline of diffusers.

    Args:
        checkout: its repository; its requirements (spacy, matplotlib, scipy) must be installed.
    """
    with tempfile.TemporaryDirectory() as folder, _castorini(checkout).trace(pipeline, data_dir=folder):
        yield


def _castorini(checkout: Path) -> ModuleType:
    if ALIAS not in sys.modules:
        path = checkout / "daam" / "__init__.py"
        if not path.is_file():
            raise SystemExit(f"{checkout}: expected a checkout of castorini/daam, found no {path}")
        spec = importlib.util.spec_from_loader(ALIAS, None, is_package=True)
        assert spec is not None
        package = importlib.util.module_from_spec(spec)
        package.__path__ = [str(path.parent)]  # without its own __init__, which asks for much that is not measured
        sys.modules[ALIAS] = package
    return importlib.import_module(f"{ALIAS}.trace")
