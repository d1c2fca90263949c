"""Lets Forge and Forge Neo load an SDXL whose second text encoder has two layers instead of 32.

Their loader builds text encoders by configurations in a folder of its own; it is shown a copy with another number.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path

LAYERS = 2
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


def make_second_encoder_small() -> None:
    """Nothing in reForge, whose loader has no such folder."""
    if importlib.util.find_spec("backend.loader") is None:
        return
    from backend import loader

    root = Path(tempfile.mkdtemp(prefix="forge-configurations-"))
    own = Path(loader.__file__).parent / "huggingface"
    copy = root / "huggingface"
    _link(own, copy, [*SDXL.split("/"), "text_encoder_2"])
    config = copy / SDXL / "text_encoder_2" / "config.json"
    settings = json.loads((own / SDXL / "text_encoder_2" / "config.json").read_text("utf-8"))
    config.parent.mkdir()
    config.write_text(json.dumps({**settings, "num_hidden_layers": LAYERS}), "utf-8")
    if hasattr(loader, "HF"):
        loader.HF = str(copy)
    else:
        loader.dir_path = str(root)


def _link(source: Path, target: Path, path: list[str]) -> None:
    """The folder as links, but for one path in it: its folders are made, and the last is left out."""
    target.mkdir(parents=True)
    for each in source.iterdir():
        if each.name != path[0]:
            (target / each.name).symlink_to(each)
    if len(path) > 1:
        _link(source / path[0], target / path[0], path[1:])
