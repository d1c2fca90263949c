"""Tiny pipelines with joint attention, random weights, and tokenizers that are trained on a few words."""

from __future__ import annotations

import functools
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests import joint_models
from tests.joint_models import CHANNELS
from tests.pipelines import _quiet, make_text_encoder
from tests.places import TOKENIZER

WORDS = "a red blue green circle square cat on the grass photo of two three and with describe image assistant superior"
PICTURE = ("image_pad", "vision_start", "vision_end")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)


@functools.cache
def t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS.split()]
    pieces += [(letter, -8.0) for letter in ["▁", *map(chr, range(33, 127))]]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0)


@functools.cache
def qwen_tokenizer() -> Any:
    """Byte-level, as Qwen's: a blank belongs to the word behind it."""
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    own.train_from_iterator([WORDS] * 3, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    return _chat(transformers.Qwen2Tokenizer, own)


def _chat(kind: Any, own: Tokenizer) -> Any:
    import json

    data = json.loads(own.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in data["merges"]]
    made = kind(vocab=dict(data["vocab"]), merges=merges, pad_token="<|endoftext|>")
    special = ["<|im_start|>", "<|im_end|>", *(f"<|{name}|>" for name in PICTURE)]
    made.add_special_tokens({"additional_special_tokens": special})
    made.chat_template = CHAT
    return made


@functools.cache
def gemma_tokenizer() -> Any:
    own = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    own.normalizer = normalizers.Replace(" ", "▁")
    own.decoder = decoders.Replace("▁", " ")
    letters = [*map(chr, range(33, 127)), "▁"]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=letters)
    own.train_from_iterator([f" {word}" for word in WORDS.split() * 3], trainer)
    import json

    data = json.loads(own.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in data["merges"]]
    return transformers.GemmaTokenizer(vocab=dict(data["vocab"]), merges=merges)


def vae(levels: int = 2, channels: int = 4) -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(8,) * levels, layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, norm_num_groups=4, latent_channels=channels, sample_size=32,
        shift_factor=0.0, scaling_factor=1.0, use_quant_conv=False, use_post_quant_conv=False,
    ).eval()  # fmt: skip


def t5() -> Any:
    torch.manual_seed(3)
    config = transformers.T5Config(
        vocab_size=len(t5_tokenizer()), d_model=CHANNELS, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )
    return transformers.T5EncoderModel(config).eval()


def _decoder(kind: str, tokenizer: Any, **settings: Any) -> Any:
    torch.manual_seed(4)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), hidden_size=CHANNELS, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, pad_token_id=0, **settings,
    )  # fmt: skip
    return config


def scheduler() -> Any:
    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False)


def clip(hidden: int, projected: bool) -> dict[str, Any]:
    from transformers import CLIPTokenizer

    return {"tokenizer": CLIPTokenizer.from_pretrained(TOKENIZER), "text_encoder": make_text_encoder(hidden, projected)}


def flux(kind: str = "FluxPipeline", **settings: Any) -> Any:
    return _quiet(
        getattr(diffusers, kind)(
            scheduler=scheduler(),
            vae=vae(),
            **clip(32, False),
            text_encoder_2=t5(),
            tokenizer_2=t5_tokenizer(),
            transformer=joint_models.flux(**settings),
        )  # fmt: skip
    )


def flux_guided() -> Any:
    """Guidance-distilled, as Flux dev."""
    return flux(guidance_embeds=True)


def kontext() -> Any:
    return flux("FluxKontextPipeline", guidance_embeds=True)


def chroma() -> Any:
    return _quiet(
        diffusers.ChromaPipeline(
            scheduler=scheduler(),
            vae=vae(),
            text_encoder=t5(),
            tokenizer=t5_tokenizer(),
            transformer=joint_models.chroma(),
        )  # fmt: skip
    )


def sd3(with_t5: bool = True) -> Any:
    first, second = clip(12, True), clip(12, True)
    return _quiet(
        diffusers.StableDiffusion3Pipeline(
            transformer=joint_models.sd3(pooled_projection_dim=24),
            scheduler=scheduler(),
            vae=vae(),
            **first,
            text_encoder_2=second["text_encoder"],
            tokenizer_2=second["tokenizer"],
            text_encoder_3=t5() if with_t5 else None,
            tokenizer_3=t5_tokenizer() if with_t5 else None,
        )  # fmt: skip
    )


class PictureProcessor:
    """What Qwen's processor does: as many image tokens as the picture has patches, and the patches beside them."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self._patches = transformers.Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=4 * 28 * 28)

    def __call__(self, text: list[str], images: Any, padding: bool, return_tensors: str) -> Any:
        seen = self._patches(images=[images] if not isinstance(images, list) else images, return_tensors="pt")
        count = int(seen["image_grid_thw"][0].prod()) // 4
        texts = [each.replace("<|image_pad|>", "<|image_pad|>" * count) for each in text]
        tokens = self.tokenizer(texts, padding=padding, return_tensors=return_tensors)
        return transformers.BatchFeature({**tokens, **seen})


def qwen_edit() -> Any:
    base = qwen()
    return _quiet(diffusers.QwenImageEditPipeline(**base.components, processor=PictureProcessor(base.tokenizer)))


def qwen() -> Any:
    tokenizer = qwen_tokenizer()
    image, start, end = (tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in PICTURE)
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": CHANNELS, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": CHANNELS,
        },
        image_token_id=image, vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    torch.manual_seed(4)
    encoder = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    torch.manual_seed(1)
    decoder = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ).eval()  # fmt: skip
    return _quiet(
        diffusers.QwenImagePipeline(
            scheduler=scheduler(),
            vae=decoder,
            text_encoder=encoder,
            tokenizer=tokenizer,
            transformer=joint_models.qwen(),
        )  # fmt: skip
    )


def lumina() -> Any:
    tokenizer = gemma_tokenizer()
    encoder = transformers.Gemma2Model(_decoder("Gemma2", tokenizer, query_pre_attn_scalar=8)).eval()
    return _quiet(
        diffusers.Lumina2Pipeline(
            transformer=joint_models.lumina(),
            scheduler=scheduler(),
            vae=vae(4),
            text_encoder=encoder,
            tokenizer=tokenizer,
        )  # fmt: skip
    )


def z_image() -> Any:
    tokenizer = qwen_tokenizer()
    encoder = transformers.Qwen3Model(_decoder("Qwen3", tokenizer)).eval()
    return _quiet(
        diffusers.ZImagePipeline(
            scheduler=scheduler(),
            vae=vae(),
            text_encoder=encoder,
            tokenizer=tokenizer,
            transformer=joint_models.z_image(),
        )  # fmt: skip
    )


def klein(is_distilled: bool = False) -> Any:
    tokenizer = qwen_tokenizer()
    config = _decoder("Qwen3", tokenizer)
    config.hidden_size = CHANNELS // 3
    encoder = transformers.Qwen3ForCausalLM(config).eval()
    torch.manual_seed(1)
    decoder = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8), layers_per_block=1, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4, sample_size=32,
    ).eval()  # fmt: skip
    return _quiet(
        diffusers.Flux2KleinPipeline(
            scheduler=scheduler(),
            vae=decoder,
            text_encoder=encoder,
            tokenizer=tokenizer,
            transformer=joint_models.flux2(),
            is_distilled=is_distilled,
        )  # fmt: skip
    )
