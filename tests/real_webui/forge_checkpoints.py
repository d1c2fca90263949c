"""Small checkpoints that the Forges take for SD 1.5, SD 2, SDXL, Flux and its kin. Made in the tests' own Python.

These hosts know a model by its keys and some of its widths, and build text encoders and VAE in the sizes of their own
configurations, of which they are shown small ones where that can be (see bench_extension/forge.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from tests.real_webui.embedded_checkpoint import ldm_unet, ldm_vae
from tests.real_webui.forge_anima import anima_shapes, wan_vae_shapes
from tests.real_webui.forge_flux import chroma_shapes, flux_shapes, klein_shapes, t5_shapes
from tests.real_webui.forge_lumina import Kind, llm_shapes, nextdit_shapes
from tests.real_webui.forge_qwen import krea_shapes, qwen_shapes
from tests.real_webui.forge_sizes import CLIP_LAYERS, OPEN_CLIP_LAYERS, VAE_SIZES
from tests.real_webui.random_weights import randomised

VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
CLIP: dict[str, Any] = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407,
}  # fmt: skip
SD1: dict[str, Any] = {
    "block_out_channels": (320, 640), "layers_per_block": 1, "cross_attention_dim": 768, "attention_head_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 2, "up_block_types": ("CrossAttnUpBlock2D",) * 2,
}  # fmt: skip
SD2: dict[str, Any] = {
    **SD1, "cross_attention_dim": 1024, "attention_head_dim": (5, 10), "use_linear_projection": True,
}  # fmt: skip
SDXL: dict[str, Any] = {
    "block_out_channels": (320, 320, 320), "layers_per_block": 2, "cross_attention_dim": 2048, "attention_head_dim": 5,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
REFINER: dict[str, Any] = {
    "block_out_channels": (384,) * 4, "layers_per_block": 2, "cross_attention_dim": 1280, "attention_head_dim": 6,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 4, "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2560,
}  # fmt: skip
OPEN_CLIP_WIDTHS = {"sd2": 1024, "sdxl": 1280}
EIGHT_BITS = torch.float8_e4m3fn


def make_forge_checkpoints(folder: Path, names: Collection[str], *, is_small: bool) -> None:
    """Writes them, and a LoRA, a textual inversion and a ControlNet for SD 1.5, into a data folder of the host.

    Args:
        names: of families beside SD 1.5: sd2, sdxl, and refiner with it, flux, kontext and eight bits with it, chroma,
            lumina, z_image, anima, qwen_image, krea, klein.
        is_small: CLIP-L and VAE too.
    """
    vae_config = {**VAE, **VAE_SIZES} if is_small else VAE
    checkpoints = folder / "models" / "Stable-diffusion"
    checkpoints.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    vae = _named("first_stage_model.", ldm_vae(_random(AutoencoderKL(**vae_config)), vae_config))
    clip = _text_encoder(CLIP_LAYERS if is_small else CLIP["num_hidden_layers"])
    parts = {**vae, **_named("cond_stage_model.transformer.", clip)}
    for name, channels in (("sd1", 4), ("other", 4), ("inpainting", 9)):
        _save({**parts, **_unet({**SD1, "in_channels": channels})}, checkpoints / f"{name}.safetensors")
    if "sd2" in names:
        parts = {**vae, **_named("cond_stage_model.model.", _open_clip("sd2"))}
        _save({**parts, **_unet({**SD2, "in_channels": 4})}, checkpoints / "sd2.safetensors")
    if "sdxl" in names:
        parts = {**vae, **_named("conditioner.embedders.0.transformer.", clip)}
        open_clip = _open_clip("sdxl")
        parts |= _named("conditioner.embedders.1.model.", open_clip)
        _save({**parts, **_unet(SDXL)}, checkpoints / "sdxl.safetensors")
        if "refiner" in names:
            parts = {**vae, **_named("conditioner.embedders.0.model.", open_clip)}
            _save({**parts, **_unet(REFINER)}, checkpoints / "refiner.safetensors")
    latents = {**vae_config, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
    wide = _named("vae.", ldm_vae(_random(AutoencoderKL(**latents)), latents))
    clip_l = _named("text_encoders.clip_l.transformer.", clip)
    t5 = _named("text_encoders.t5xxl.transformer.", _of_shapes(t5_shapes()))
    if "flux" in names:
        flux = _transformer(flux_shapes())
        _save({**wide, **clip_l, **t5, **flux}, checkpoints / "flux.safetensors")
        eight = {name: tensor.to(EIGHT_BITS) for name, tensor in flux.items()}
        _save({**wide, **clip_l, **t5, **eight}, checkpoints / "flux-fp8.safetensors")
        if "kontext" in names:  # Forge Neo knows it by its file's name alone
            (checkpoints / "flux-kontext.safetensors").hardlink_to(checkpoints / "flux.safetensors")
    if "chroma" in names:
        _save({**wide, **t5, **_transformer(chroma_shapes())}, checkpoints / "chroma.safetensors")
    kinds: dict[Kind, str] = {"lumina": "gemma2_2b", "z_image": "qwen3_4b"}
    for kind, encoder in kinds.items():
        if kind in names:
            text = _named(f"text_encoders.{encoder}.transformer.", _of_shapes(llm_shapes(kind)))
            _save({**wide, **text, **_transformer(nextdit_shapes(kind))}, checkpoints / f"{kind}.safetensors")
    if "anima" in names:
        parts = _named("vae.", _of_shapes(wan_vae_shapes())) | _transformer(anima_shapes())
        parts |= _named("text_encoders.qwen3_06b.transformer.", _of_shapes(llm_shapes("anima")))
        _save(parts, checkpoints / "anima.safetensors")
    if "klein" in names:
        packed = {**vae_config, "latent_channels": 32}
        parts = _named("vae.", ldm_vae(_random(AutoencoderKL(**packed)), packed)) | _transformer(klein_shapes())
        parts |= {"vae.bn.running_mean": torch.zeros(128), "vae.bn.running_var": torch.ones(128)}
        parts |= _named("text_encoders.qwen3_4b.transformer.", _of_shapes(llm_shapes("klein")))
        _save(parts, checkpoints / "klein.safetensors")
    if "qwen_image" in names:
        parts = _named("vae.", _of_shapes(wan_vae_shapes())) | _transformer(qwen_shapes())
        parts |= _named("text_encoders.qwen25_7b.", _of_shapes(llm_shapes("qwen_image")))
        _save(parts, checkpoints / "qwen_image.safetensors")
    if "krea" in names:
        parts = _named("vae.", _of_shapes(wan_vae_shapes())) | _transformer(krea_shapes())
        parts |= _named("text_encoders.qwen3vl_4b.transformer.", _of_shapes(llm_shapes("krea")))
        _save(parts, checkpoints / "krea.safetensors")
    _save_extras(folder)


def _transformer(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return _named("model.diffusion_model.", _of_shapes(shapes))


def _of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return randomised({name: torch.empty(shape) for name, shape in shapes.items()})


def _random(module: torch.nn.Module) -> dict[str, Tensor]:
    return randomised(module.state_dict())


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _unet(config: Mapping[str, Any]) -> dict[str, Tensor]:
    return _named("model.diffusion_model.", ldm_unet(_random(UNet2DConditionModel(**config)), config))


def _text_encoder(layers: int) -> dict[str, Tensor]:
    weights = _random(CLIPTextModel(CLIPTextConfig(**{**CLIP, "num_hidden_layers": layers})))
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("position_ids")}
    return {name if name.startswith("text_model.") else f"text_model.{name}": each for name, each in weights.items()}


def _open_clip(family: str) -> dict[str, Tensor]:
    width = OPEN_CLIP_WIDTHS[family]
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, width), "token_embedding.weight": (49408, width),
        "text_projection": (width, width),
        "ln_final.weight": (width,), "ln_final.bias": (width,),
    }  # fmt: skip
    for layer in range(OPEN_CLIP_LAYERS):
        linear = {"attn.in_proj_": (3, 1), "attn.out_proj.": (1, 1), "mlp.c_fc.": (4, 1), "mlp.c_proj.": (1, 4)}
        inside: dict[str, tuple[int, ...]] = {}
        for name, (out, into) in linear.items():
            inside |= {f"{name}weight": (out * width, into * width), f"{name}bias": (out * width,)}
        inside |= {f"ln_{number}.{kind}": (width,) for number in (1, 2) for kind in ("weight", "bias")}
        shapes |= {f"transformer.resblocks.{layer}.{name}": shape for name, shape in inside.items()}
    return _of_shapes(shapes)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    half = {name: each if each.dtype == EIGHT_BITS else each.to(torch.float16) for name, each in tensors.items()}
    save_file({name: tensor.contiguous().clone() for name, tensor in half.items()}, path)


def _save_extras(folder: Path) -> None:
    for part in ("embeddings", "models/Lora", "models/ControlNet"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    width, text = SD1["block_out_channels"][0], SD1["cross_attention_dim"]
    save_file({"emb_params": 0.3 * torch.randn(3, text)}, folder / "embeddings" / "tinyword.safetensors")
    lora = {}
    for projection, inputs in (("to_q", width), ("to_k", text), ("to_v", text)):
        name = f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_{projection}"
        lora[f"{name}.lora_down.weight"] = torch.randn(2, inputs) / inputs**0.5
        lora[f"{name}.lora_up.weight"] = torch.randn(width, 2)
        lora[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(lora, folder / "models" / "Lora" / "tinylora.safetensors")
    _save(_control(), folder / "models" / "ControlNet" / "tinycontrol.safetensors")


def _control() -> dict[str, Tensor]:
    """A ControlNet: the UNet's half that looks, and what takes a picture in and gives the UNet's other half its hints.

    Names and sizes of those parts are from the first publication (lllyasviel/ControlNet, cldm.py).
    """
    config = {**SD1, "in_channels": 4}
    unet = ldm_unet(_random(UNet2DConditionModel(**config)), config)
    kept = {name: tensor for name, tensor in unet.items() if not name.startswith(("output_blocks.", "out."))}
    channels = (3, 16, 16, 32, 32, 96, 96, 256, 320)
    parts = {f"input_hint_block.{2 * number}": (out, into, 3) for number, (into, out) in enumerate(pairwise(channels))}
    parts |= {f"zero_convs.{number}.0": (width, width, 1) for number, width in enumerate((320, 320, 320, 640))}
    parts["middle_block_out.0"] = (640, 640, 1)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (out, into, size) in parts.items():
        shapes |= {f"{name}.weight": (out, into, size, size), f"{name}.bias": (out,)}
    return {**kept, **_of_shapes(shapes)}
