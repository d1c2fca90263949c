"""The embedded model's weights, and others of its kind, under the names of an LDM checkpoint. Knows only the names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

WEIGHTS = Path(__file__).parents[2] / "daam" / "demo_model" / "weights"
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTSIDE = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0", "conv_out": "out.2", "mid_block.attentions.0": "middle_block.1",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def configs() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The configurations of the UNet, the VAE and the scheduler."""
    files = ("unet/config.json", "vae/config.json", "scheduler/scheduler_config.json")
    unet, vae, scheduler = (json.loads((WEIGHTS / file).read_text("utf-8")) for file in files)
    return unet, vae, scheduler


def state() -> dict[str, Tensor]:
    """Every tensor of the checkpoint, float32."""
    unet, vae, _ = configs()
    tensors = {f"model.diffusion_model.{name}": tensor for name, tensor in ldm_unet(_load("unet"), unet).items()}
    tensors |= {f"first_stage_model.{name}": tensor for name, tensor in ldm_vae(_load("vae"), vae).items()}
    tensors |= {f"cond_stage_model.transformer.{name}": tensor for name, tensor in text_encoder().items()}
    return {name: tensor.float().contiguous().clone() for name, tensor in tensors.items()}


def text_encoder() -> dict[str, Tensor]:
    """The text encoder under the names that transformers had before version 5."""
    weights = _load("text_encoder")
    return {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in weights.items()}


def _load(part: str) -> dict[str, Tensor]:
    return load_file(next((WEIGHTS / part).glob("*.safetensors")))


def ldm_unet(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """A UNet of diffusers under the names of LDM."""
    renamed: dict[str, Tensor] = {}
    levels, resnets = len(config["block_out_channels"]), config["layers_per_block"]

    def move(source: str, target: str, names: dict[str, str] | None = None) -> bool:
        found = [name for name in weights if name.startswith(f"{source}.")]
        for name in found:
            rest = name[len(source) + 1 :]
            if names:
                part, _, end = rest.partition(".")
                rest = f"{names[part]}.{end}"
            renamed[f"{target}.{rest}"] = weights[name]
        return bool(found)

    for source, target in OUTSIDE.items():
        move(source, target)
    for number, target in ((0, "middle_block.0"), (1, "middle_block.2")):
        move(f"mid_block.resnets.{number}", target, RESNET)
    place = 1
    for level in range(levels):
        for number in range(resnets):
            move(f"down_blocks.{level}.resnets.{number}", f"input_blocks.{place}.0", RESNET)
            move(f"down_blocks.{level}.attentions.{number}", f"input_blocks.{place}.1")
            place += 1
        if move(f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{place}.0.op"):
            place += 1
    for level in range(levels):
        for number in range(resnets + 1):
            place = level * (resnets + 1) + number
            move(f"up_blocks.{level}.resnets.{number}", f"output_blocks.{place}.0", RESNET)
            has_attention = move(f"up_blocks.{level}.attentions.{number}", f"output_blocks.{place}.1")
            if number == resnets:
                upsampler = f"output_blocks.{place}.{2 if has_attention else 1}.conv"
                move(f"up_blocks.{level}.upsamplers.0.conv", upsampler)
    assert len(renamed) == len(weights)
    return renamed


def ldm_vae(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """A VAE of diffusers under the names of LDM."""
    renamed = {}
    for name, tensor in weights.items():
        side, parts = name.split(".")[0], name.split(".")
        if len(parts) > 3 and parts[1] in ("down_blocks", "up_blocks"):
            level = (
                int(parts[2]) if parts[1] == "down_blocks" else len(config["block_out_channels"]) - 1 - int(parts[2])
            )
            way = "down" if parts[1] == "down_blocks" else "up"
            inside = f"block.{parts[4]}." if parts[3] == "resnets" else f"{way}sample."
            name = f"{side}.{way}.{level}.{inside}{'.'.join(parts[5:])}"
        elif parts[1:3] == ["mid_block", "resnets"]:
            name = f"{side}.mid.block_{int(parts[3]) + 1}.{'.'.join(parts[4:])}"
        elif parts[1:3] == ["mid_block", "attentions"]:
            kind = VAE_ATTENTION[".".join(parts[4:-1])]
            name = f"{side}.mid.attn_1.{kind}.{parts[-1]}"
            if kind != "norm" and parts[-1] == "weight":
                tensor = tensor[:, :, None, None]  # LDM has convolutions of one pixel there
        renamed[name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")] = tensor
    return renamed
