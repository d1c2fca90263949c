"""Lets the Forges load checkpoints with small text encoders and VAE, those of `ldm_patched` with a small OpenCLIP.

Their loaders build these by configurations in folders of their own; they are shown copies of them with other numbers.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from forge_sizes import CLIP_LAYERS, OPEN_CLIP_LAYERS, T5_SIZES, VAE_SIZES

SD1, SDXL = "runwayml/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
FLUX = "black-forest-labs/FLUX.1-dev"
CLIPS = (f"{SD1}/text_encoder", f"{SDXL}/text_encoder", f"{FLUX}/text_encoder")
CHANGED: dict[str, dict[str, Any]] = {
    **{f"{model}/vae": VAE_SIZES for model in (SD1, SDXL, FLUX)},
    **{encoder: {"num_hidden_layers": CLIP_LAYERS} for encoder in CLIPS},
    f"{SDXL}/text_encoder_2": {"num_hidden_layers": OPEN_CLIP_LAYERS},
    f"{FLUX}/text_encoder_2": T5_SIZES,
}


def make_encoders_small() -> None:
    root = Path(tempfile.mkdtemp(prefix="forge-configurations-"))
    if importlib.util.find_spec("backend") is not None and importlib.util.find_spec("backend.loader") is not None:
        _of_backend(root)
    else:
        _of_ldm_patched(root)


def _of_backend(root: Path) -> None:
    """Forge and Forge Neo."""
    from backend import loader

    copied = root / "huggingface"
    shutil.copytree(Path(loader.__file__).parent / "huggingface", copied)
    for part, changes in CHANGED.items():
        _change(copied / part / "config.json", changes)
    if hasattr(loader, "HF"):
        loader.HF = str(copied)
    else:
        loader.dir_path = str(root)


def _of_ldm_patched(root: Path) -> None:
    """reForge and Forge Classic, where a module looks for its configuration beside itself."""
    from ldm_patched.modules import sdxl_clip

    configuration = "clip_config_bigg.json"
    shutil.copy(Path(sdxl_clip.__file__).with_name(configuration), root)
    _change(root / configuration, {"num_hidden_layers": OPEN_CLIP_LAYERS})
    sdxl_clip.__file__ = str(root / "sdxl_clip.py")


def _change(file: Path, changes: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")
