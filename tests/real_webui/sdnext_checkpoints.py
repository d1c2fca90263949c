"""Small models for SD.Next, as folders of diffusers: the embedded one, and tiny ones with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file

from daam.demo_model import WEIGHTS

FOLDER = Path("models") / "Diffusers"
WIDTH = 776
"""Of SDXL's second text encoder."""


def make_sdnext_checkpoints(data: Path, names: set[str]) -> None:
    """Into the data folder of an SD.Next; the embedded model is always there.

    Args: names: of the families besides, as in `tests/pipelines.py` and `tests/joint_pipelines.py`.
    """
    from tests import joint_pipelines

    folder = data / FOLDER
    shutil.copytree(WEIGHTS, folder / "embedded")
    _save_lora(data / "models" / "Lora")
    for name in sorted(names):
        made = sdxl() if name == "sdxl" else flux() if name == "flux" else getattr(joint_pipelines, name)()
        made.save_pretrained(folder / name, safe_serialization=True)


def flux() -> Any:
    """Without its T5 from a hub the host makes one, of random weights, by the first encoder's sizes."""
    from tests import joint_models, joint_pipelines, pipelines

    parts = joint_pipelines.flux(pooled_projection_dim=joint_models.CHANNELS).components
    return diffusers.FluxPipeline(**{**parts, "text_encoder": pipelines.make_text_encoder(joint_models.CHANNELS)})


def sdxl() -> Any:
    """The host takes a second text encoder for SDXL's by its width, which is above 768."""
    from tests import pipelines

    parts = pipelines._sdxl_parts(channels=32 + WIDTH, ids=6, pooled=WIDTH)
    parts["text_encoder_2"] = pipelines.make_text_encoder(WIDTH, projected=True)
    encoder = pipelines.make_text_encoder()
    return diffusers.StableDiffusionXLPipeline(**parts, text_encoder=encoder, tokenizer=parts["tokenizer_2"])


def _save_lora(folder: Path) -> None:
    """A LoRA for the embedded model."""
    folder.mkdir(parents=True)
    unet = diffusers.UNet2DConditionModel.from_pretrained(WEIGHTS, subfolder="unet")
    name = next(name for name, module in unet.named_modules() if name.endswith("attn2"))
    torch.manual_seed(0)
    lora = {}
    for projection in ("to_q", "to_k", "to_v"):
        wide, into = unet.get_submodule(f"{name}.{projection}").weight.shape
        key = f"lora_unet_{name.replace('.', '_')}_{projection}"
        lora[f"{key}.lora_down.weight"] = torch.randn(2, into) / into**0.5
        lora[f"{key}.lora_up.weight"] = torch.randn(wide, 2)
        lora[f"{key}.alpha"] = torch.tensor(2.0)
    save_file(lora, folder / "tinylora.safetensors")
