"""Writes the trained networks as a diffusers folder in half precision, and reads them back to train on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from daam.demo_model import TOKENIZER

from .attention import CONTEXT
from .dataset import UNKNOWN
from .networks import BOS, EOS, VOCABULARY_SIZE, make_scheduler, make_text_encoder

UNKNOWN_SPREAD = 0.25
"""How far unknown words lie from the trained unknown word, in deviations of the trained rows."""
TEXT_PREFIX = "text_model."


def export_pipeline(
    folder: Path, autoencoder: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel,
    rows: dict[int, int],
) -> None:  # fmt: skip
    """Writes the model into `folder`, in place of what is there, with the package's own tokenizer files."""
    full = expand_vocabulary(text_encoder, rows)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=full.half(),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
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
    _forget_origins(temporary)
    shutil.rmtree(temporary / "tokenizer")
    shutil.copytree(TOKENIZER, temporary / "tokenizer")
    for file in temporary.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors lets nobody else read them
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _forget_origins(folder: Path) -> None:
    """Takes the folders that the parts were loaded from out of their configurations."""
    for file in folder.glob("*/config.json"):
        config = json.loads(file.read_text("utf-8"))
        config.pop("_name_or_path", None)
        file.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


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
    _repeat_the_last_position(full)
    return full.eval()


@torch.no_grad()
def _repeat_the_last_position(text_encoder: CLIPTextModel) -> None:
    """Training encodes only so many tokens: the places after them, which it never saw, are like the last one."""
    name = next(key for key in text_encoder.state_dict() if key.endswith("position_embedding.weight"))
    positions = text_encoder.get_parameter(name)
    positions[CONTEXT:] = positions[CONTEXT - 1]


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """The VAE of an exported model in full precision."""
    return AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False).float()


def load_networks(folder: Path, rows: dict[int, int]) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The UNet and the text encoder of an exported model in full precision, the latter with the compact vocabulary."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    full = CLIPTextModel.from_pretrained(folder / "text_encoder")
    return unet.float(), compact_vocabulary(full.float(), rows)


def compact_vocabulary(full: CLIPTextModel, rows: dict[int, int]) -> CLIPTextModel:
    """The inverse of `expand_vocabulary`; the unknown row is the mean of the rows that training never saw."""
    values = full.state_dict()
    name = next(key for key in values if key.endswith("token_embedding.weight"))
    table: Tensor = values[name]
    unseen = torch.ones(len(table), dtype=torch.bool)
    unseen[[*rows, BOS, EOS]] = False
    small = torch.empty(1 + len(rows) + 2, table.shape[1])
    small[UNKNOWN], small[-2], small[-1] = table[unseen].mean(dim=0), table[BOS], table[EOS]
    for token, row in rows.items():
        small[row] = table[token]
    compact = make_text_encoder(len(small))
    compact.load_state_dict({**values, name: small})
    return compact


def _restore_text_prefix(path: Path) -> None:
    """transformers 5 writes the names without `text_model.`; transformers 4 reads them only with it."""
    tensors = load_file(path)
    renamed = {key if key.startswith(TEXT_PREFIX) else TEXT_PREFIX + key: value for key, value in tensors.items()}
    save_file({key: value.contiguous() for key, value in renamed.items()}, path, metadata={"format": "pt"})
