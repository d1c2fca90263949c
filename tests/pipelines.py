"""Tiny pipelines with random weights, of every family that the tests trace."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.places import TOKENIZER

DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"


def make_unet(**settings: Any) -> UNet2DConditionModel:
    """SD1's layout with 32 and 64 channels: cross-attention at the full and half size and in the middle."""
    layout: dict[str, Any] = {
        "sample_size": 8,
        "layers_per_block": 1,
        "block_out_channels": (32, 64),
        "down_block_types": (CROSS_DOWN, DOWN),
        "up_block_types": (UP, CROSS_UP),
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 4),
        "norm_num_groups": 8,
    }
    torch.manual_seed(0)
    return UNet2DConditionModel(**{**layout, **settings}).eval()


def make_vae(latents: int = 4) -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=latents,
        sample_size=64,
    ).eval()


def make_text_encoder(channels: int = 32, projected: bool = False) -> CLIPTextModel:
    torch.manual_seed(2)
    settings = CLIPTextConfig(
        vocab_size=49408, hidden_size=channels, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=49407, projection_dim=channels,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(settings).eval()


def make_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip


def sd1(**unet: Any) -> StableDiffusionPipeline:
    return _quiet(
        StableDiffusionPipeline(
            vae=make_vae(),
            text_encoder=make_text_encoder(),
            tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
            unet=make_unet(**unet),
            scheduler=make_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip
    )


def sd2() -> StableDiffusionPipeline:
    """Linear projections in the transformers, heads of equal size, velocity prediction."""
    pipeline = sd1(use_linear_projection=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="v_prediction")
    return pipeline


def _sdxl_parts(channels: int, ids: int, pooled: int = 32) -> dict[str, Any]:
    unet = make_unet(
        down_block_types=(DOWN, CROSS_DOWN),
        up_block_types=(CROSS_UP, UP),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=pooled + 8 * ids,
        cross_attention_dim=channels,
    )
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    return {
        "vae": make_vae(), "unet": unet, "scheduler": make_scheduler(), "add_watermarker": False,
        "text_encoder_2": make_text_encoder(projected=True), "tokenizer_2": tokenizer,
    }  # fmt: skip


def sdxl() -> StableDiffusionXLPipeline:
    """Two text encoders, two transformer blocks in the inner layers."""
    parts = _sdxl_parts(channels=64, ids=6)
    return _quiet(StableDiffusionXLPipeline(**parts, text_encoder=make_text_encoder(), tokenizer=parts["tokenizer_2"]))


def sdxl_refiner() -> StableDiffusionXLImg2ImgPipeline:
    """The second text encoder alone; image to image."""
    parts = _sdxl_parts(channels=32, ids=5)
    return _quiet(
        StableDiffusionXLImg2ImgPipeline(**parts, text_encoder=None, tokenizer=None, requires_aesthetics_score=True)
    )


FAMILIES = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl}


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run(pipeline: Any, prompt: str | list[str], **options: Any) -> Any:
    """Two steps at 64x64 with a fixed seed; the pictures as one uint8 array [image, height, width, 3]."""
    settings = {"num_inference_steps": 2, "height": 64, "width": 64, "output_type": "np"}
    images = pipeline(prompt, generator=torch.Generator().manual_seed(3), **{**settings, **options}).images
    return images


def as_kind(kind: Any, base: Any = None, **parts: Any) -> Any:
    """A pipeline of another kind from the parts of `base` (SD1 where none is given) that it takes."""
    names = inspect.signature(kind.__init__).parameters
    taken = {**(sd1() if base is None else base).components, "requires_safety_checker": False, **parts}
    return _quiet(kind(**{name: part for name, part in taken.items() if name in names}))
