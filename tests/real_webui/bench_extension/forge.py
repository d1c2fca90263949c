"""Lets the Forges load small checkpoints: small text encoders and VAEs, and small transformers.

Their loaders build encoders and VAE by configurations in folders of their own; they are shown copies of them with other
numbers. They know a transformer by its names and some of its widths, which are told them, and build it of their own
classes, which get the small sizes instead. Of `ldm_patched` only OpenCLIP is made small.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from forge_sizes import (
    ADAPTER_SIZES,
    ANIMA_LLM_SIZES,
    ANIMA_SIZES,
    CLIP_LAYERS,
    FLUX_SIZES,
    GUIDANCE_SIZES,
    KLEIN_LLM_SIZES,
    KLEIN_SIZES,
    KREA_LLM_SIZES,
    KREA_SIZES,
    LLM_SIZES,
    LUMINA_SIZES,
    OPEN_CLIP_LAYERS,
    QWEN_SIZES,
    T5_SIZES,
    VAE_SIZES,
    WAN_VAE_SIZES,
)

SD1, SDXL = "runwayml/stable-diffusion-v1-5", "stabilityai/stable-diffusion-xl-base-1.0"
REFINER = "stabilityai/stable-diffusion-xl-refiner-1.0"
SD2, FLUX = "stabilityai/stable-diffusion-2-1", "black-forest-labs/FLUX.1-dev"
CHROMA, LUMINA, Z_IMAGE = "Chroma", "neta-art/Neta-Lumina", "Tongyi-MAI/Z-Image-Turbo"
ANIMA = "circlestone-labs/Anima"
QWEN_IMAGE, KREA = "Qwen/Qwen-Image", "krea/Krea-2-Raw"
KLEIN = "black-forest-labs/FLUX.2-klein-4B"
ANIMA_WIDTH, KLEIN_WIDTH = 2048, 3072
"""By which they are known."""
CLIPS = (f"{SD1}/text_encoder", f"{SDXL}/text_encoder", f"{FLUX}/text_encoder")
CHANGED: dict[str, dict[str, Any]] = {
    **{f"{model}/vae": VAE_SIZES for model in (SD1, SD2, SDXL, REFINER, FLUX, CHROMA, LUMINA, Z_IMAGE)},
    **{encoder: {"num_hidden_layers": CLIP_LAYERS} for encoder in CLIPS},
    **{f"{model}/text_encoder": {"num_hidden_layers": OPEN_CLIP_LAYERS} for model in (SD2, REFINER)},
    f"{SDXL}/text_encoder_2": {"num_hidden_layers": OPEN_CLIP_LAYERS},
    f"{FLUX}/text_encoder_2": T5_SIZES,
    f"{CHROMA}/text_encoder": T5_SIZES,
    f"{LUMINA}/text_encoder": LLM_SIZES,
    f"{Z_IMAGE}/text_encoder": LLM_SIZES,
    f"{ANIMA}/text_encoder": {"hidden_size": ANIMA_LLM_SIZES["hidden_size"]},
    f"{ANIMA}/vae": WAN_VAE_SIZES,
    f"{QWEN_IMAGE}/text_encoder": LLM_SIZES,
    f"{QWEN_IMAGE}/vae": WAN_VAE_SIZES,
    f"{KREA}/vae": WAN_VAE_SIZES,
    f"{KLEIN}/text_encoder": KLEIN_LLM_SIZES,
    f"{KLEIN}/vae": VAE_SIZES,
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
        if (copied / part).exists():
            _change(copied / part / "config.json", changes)
    tokenizer = copied / CHROMA / "tokenizer" / "tokenizer.json"
    if not tokenizer.exists():
        shutil.copy(copied / FLUX / "tokenizer_2" / tokenizer.name, tokenizer)  # T5's, as Chroma's is
    _make_transformers_small()
    if hasattr(loader, "HF"):
        loader.HF = str(copied)
        _make_llms_small()
    else:
        loader.dir_path = str(root)


def _make_transformers_small() -> None:
    from backend.nn import chroma, flux

    _with_sizes(
        flux.IntegratedFluxTransformer2DModel,
        lambda given: KLEIN_SIZES if given.get("global_modulation") else FLUX_SIZES,
    )
    _with_sizes(chroma.IntegratedChromaTransformer2DModel, lambda given: {**FLUX_SIZES, **_guidance(given)})


def _guidance(given: dict[str, Any]) -> dict[str, Any]:
    """By the names of Forge Neo, or of Forge."""
    return {name: value for key, value in GUIDANCE_SIZES.items() for name in (key, f"guidance_{key}") if name in given}


def _make_llms_small() -> None:
    """Of Forge Neo: text encoders, and the models that go with them, which it knows by their width."""
    from backend.nn import anima, krea, lumina, qwen
    from backend.nn.llm import llama
    from huggingface_guess import detection

    for name in ("Qwen3_4BConfig", "Gemma2_2B_Config", "Qwen25_7BVLI_Config"):
        setattr(llama, name, functools.partial(getattr(llama, name), **LLM_SIZES))
    llama.Qwen3VL_4BConfig = functools.partial(llama.Qwen3VL_4BConfig, **KREA_LLM_SIZES)
    llama.Qwen3_06BConfig = functools.partial(llama.Qwen3_06BConfig, **ANIMA_LLM_SIZES)
    llama.Qwen3_8BConfig = functools.partial(llama.Qwen3_8BConfig, **KLEIN_LLM_SIZES)
    by_width = {LLM_SIZES["hidden_size"]: llama.Qwen3_4B, ANIMA_LLM_SIZES["hidden_size"]: llama.Qwen3_06B}
    by_width[KLEIN_LLM_SIZES["hidden_size"]] = llama.Qwen3_8B
    # for the smallest the loader takes a Qwen 3 of a width that it does not know
    llama.Qwen3_06B = lambda config: by_width[config["hidden_size"]](config)
    llama.LLMAdapter = functools.partial(llama.LLMAdapter, **ADAPTER_SIZES)
    _with_sizes(lumina.NextDiT, lambda given: LUMINA_SIZES[given["dim"]])
    _with_sizes(anima.Anima, lambda given: ANIMA_SIZES)
    _with_sizes(qwen.QwenImageTransformer2DModel, lambda given: QWEN_SIZES)
    _with_sizes(krea.SingleStreamDiT, lambda given: KREA_SIZES)
    # what sees pictures in prompts has 0.7 billion weights, for none here
    llama.qwen_vl.Qwen2VLVisionTransformer = lambda **_: torch.nn.Identity()
    llama.Qwen3VLVisionModel = lambda _: torch.nn.Identity()
    known = {sizes["dim"]: width for width, sizes in LUMINA_SIZES.items()}
    detect = detection.detect_unet_config

    def detect_small(state_dict: dict[str, Any], prefix: str) -> Any:
        patches = f"{prefix}x_embedder.proj.1.weight"
        if patches in state_dict:
            whole = torch.empty(ANIMA_WIDTH, state_dict[patches].shape[1], device="meta")
            return detect({**state_dict, patches: whole}, prefix)
        if f"{prefix}double_stream_modulation_img.lin.weight" in state_dict:
            names = (f"{prefix}img_in.weight", f"{prefix}txt_in.weight")
            wide = {name: torch.empty(KLEIN_WIDTH, state_dict[name].shape[1], device="meta") for name in names}
            return detect({**state_dict, **wide}, prefix)
        key = f"{prefix}cap_embedder.1.weight"
        if key not in state_dict or state_dict[key].shape[0] not in known:
            return detect(state_dict, prefix)
        width, text = state_dict[key].shape
        return detect({**state_dict, key: torch.empty(known[width], text, device="meta")}, prefix)

    detection.detect_unet_config = detect_small


def _with_sizes(network: Any, sizes: Any) -> None:
    """The class builds itself with other sizes than it is called with."""
    build = network.__init__

    @functools.wraps(build)
    def build_small(self: Any, **given: Any) -> None:
        build(self, **{**given, **sizes(given)})

    network.__init__ = build_small


def _of_ldm_patched(root: Path) -> None:
    """reForge and Forge Classic, where a module looks for its configuration beside itself."""
    from ldm_patched.modules import sdxl_clip

    configuration = "clip_config_bigg.json"
    shutil.copy(Path(sdxl_clip.__file__).with_name(configuration), root)
    _change(root / configuration, {"num_hidden_layers": OPEN_CLIP_LAYERS})
    sdxl_clip.__file__ = str(root / "sdxl_clip.py")


def _change(file: Path, changes: dict[str, Any]) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")
