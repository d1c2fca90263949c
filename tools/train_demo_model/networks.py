"""The three networks of the demo model, in sizes that diffusers and the original LDM classes can both express."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

CONTEXT_CHANNELS = 64
TEXT_LAYERS = 3
HEADS = 2
UNET_CHANNELS = (64, 128, 128)
VOCABULARY_SIZE = 49408
BOS, EOS = 49406, 49407


def make_autoencoder() -> AutoencoderKL:
    """f = 8, four latent channels. Fewer than 64 channels would make GroupNorm(32) lose the colours."""
    return AutoencoderKL(
        block_out_channels=(64, 64, 64, 64),
        layers_per_block=0,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=32,
        sample_size=128,
    )


def make_unet() -> UNet2DConditionModel:
    """Stable Diffusion 1.x's own layout: cross-attention at every level but the lowest, and in the middle.

    Heat maps are sums over layers and heads: 6 of 14 heads look at 16x16, 6 at 8x8 and the middle block's 2 at 4x4.
    `attention_head_dim` is the number of heads, as in Stable Diffusion's own configuration files.
    """
    return UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=UNET_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=CONTEXT_CHANNELS,
        attention_head_dim=HEADS,
        norm_num_groups=32,
    )


def make_text_encoder(vocabulary_size: int = VOCABULARY_SIZE) -> CLIPTextModel:
    """A CLIP text encoder; the last two ids are start and end (which also pads), as in CLIP's vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=CONTEXT_CHANNELS,
            intermediate_size=4 * CONTEXT_CHANNELS,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=vocabulary_size - 2,
            eos_token_id=vocabulary_size - 1,
            pad_token_id=vocabulary_size - 1,
            projection_dim=CONTEXT_CHANNELS,
        )
    )


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1.x's noise schedule, with v prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
