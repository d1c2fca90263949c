"""Packages that only the studies need, imported when they are used. Knows which extra of ours installs each."""

from __future__ import annotations

import importlib
from typing import Any

from daam.errors import SettingError

EXTRAS = {
    "pyarrow": "studies", "pandas": "studies", "scipy": "studies", "pycocotools": "studies", "ray": "batch",
    "spacy": "syntax",
}  # fmt: skip


def need(module: str, use: str) -> Any:
    """A module of an extra.

    Args:
        module: its full name, such as "pyarrow.parquet".
        use: what needs it, as the beginning of a sentence: "daam study syntax".

    Raises:
        SettingError: it is not installed; the text has the command that installs it.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        extra = EXTRAS[package]
        raise SettingError(f'{use} needs {package}: pip install "sd-webui-attention-heatmap[{extra}]"') from None
