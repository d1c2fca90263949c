"""Lets Forge and Forge Neo load checkpoints with small text encoders and a small VAE.

Their loader builds these by configurations in a folder of its own; it is shown a copy of it with other numbers.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from forge_sizes import CLIP_LAYERS, T5_SIZES, VAE_SIZES

SD1, SDXL = "runwayml/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
FLUX = "black-forest-labs/FLUX.1-dev"
CLIPS = (f"{SD1}/text_encoder", f"{SDXL}/text_encoder", f"{SDXL}/text_encoder_2", f"{FLUX}/text_encoder")
CHANGED: dict[str, dict[str, Any]] = {
    **{f"{model}/vae": VAE_SIZES for model in (SD1, SDXL, FLUX)},
    **{encoder: {"num_hidden_layers": CLIP_LAYERS} for encoder in CLIPS},
    f"{FLUX}/text_encoder_2": T5_SIZES,
}


def make_encoders_small() -> None:
    """Nothing in reForge, whose loader has no such folder."""
    if importlib.util.find_spec("backend") is None or importlib.util.find_spec("backend.loader") is None:
        return
    from backend import loader

    root = Path(tempfile.mkdtemp(prefix="forge-configurations-"))
    copied = root / "huggingface"
    shutil.copytree(Path(loader.__file__).parent / "huggingface", copied)
    for part, changes in CHANGED.items():
        file = copied / part / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")
    if hasattr(loader, "HF"):
        loader.HF = str(copied)
    else:
        loader.dir_path = str(root)
