"""Writes the trained networks as a diffusers folder in half precision."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .dataset import UNKNOWN
from .networks import BOS, EOS, VOCABULARY_SIZE, make_scheduler, make_text_encoder

UNKNOWN_SPREAD = 0.25
"""How far unknown words lie from the trained unknown word, in deviations of the trained rows."""
TEXT_PREFIX = "text_model."


def export_pipeline(
    folder: Path, autoencoder: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel,
    rows: dict[int, int],
) -> None:  # fmt: skip
    """Replaces the model in `folder`; the tokenizer's files in it are kept as they are."""
    full = expand_vocabulary(text_encoder, rows)
    tokenizer_folder = folder / "tokenizer"
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=full.half(),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_folder),
        unet=unet.half(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    temporary = folder.with_name(folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    pipeline.save_pretrained(temporary, safe_serialization=True)
    _restore_text_prefix(temporary / "text_encoder" / "model.safetensors")
    shutil.rmtree(temporary / "tokenizer")
    shutil.copytree(tokenizer_folder, temporary / "tokenizer")
    shutil.rmtree(folder)
    temporary.rename(folder)


def expand_vocabulary(text_encoder: CLIPTextModel, rows: dict[int, int]) -> CLIPTextModel:
    """The text encoder with all of CLIP's tokens.

    Tokens that training never saw get the trained unknown row plus a small pattern of their own: the signs are the
    bits of a fixed random number for each token, so that the table compresses well.
    """
    small = text_encoder.state_dict()
    name = next(key for key in small if key.endswith("token_embedding.weight"))
    trained: Tensor = small[name]
    signs = torch.randint(0, 2, (VOCABULARY_SIZE, trained.shape[1]), generator=torch.Generator().manual_seed(0)) * 2 - 1
    table = trained[UNKNOWN] + signs * (UNKNOWN_SPREAD * trained.std())
    table[BOS], table[EOS] = trained[-2], trained[-1]
    for token, row in rows.items():
        table[token] = trained[row]
    full = make_text_encoder()
    full.load_state_dict({**small, name: table})
    return full.eval()


def _restore_text_prefix(path: Path) -> None:
    """transformers 5 writes the names without `text_model.`; transformers 4 reads them only with it."""
    tensors = load_file(path)
    renamed = {key if key.startswith(TEXT_PREFIX) else TEXT_PREFIX + key: value for key, value in tensors.items()}
    save_file({key: value.contiguous() for key, value in renamed.items()}, path, metadata={"format": "pt"})
