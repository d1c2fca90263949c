"""Small models for SD.Next, as folders of diffusers: the embedded one, and tiny ones with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from daam.demo_model import WEIGHTS

FOLDER = Path("models") / "Diffusers"


def make_sdnext_checkpoints(data: Path, names: set[str]) -> None:
    """Into the data folder of an SD.Next; the embedded model is always there.

    Args: names: of the families besides, as in `tests/pipelines.py` and `tests/joint_pipelines.py`.
    """
    from tests import joint_pipelines, pipelines

    folder = data / FOLDER
    shutil.copytree(WEIGHTS, folder / "embedded")
    for name in sorted(names):
        make = getattr(pipelines, name, None) or getattr(joint_pipelines, name)
        make().save_pretrained(folder / name, safe_serialization=True)
