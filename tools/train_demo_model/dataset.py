"""Scenes as the UNet trains on them: latents, and captions as rows of a compact vocabulary."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from .autoencoder import to_input
from .captions import caption_text, make_caption
from .networks import BOS, EOS
from .scenes import make_scene

logger = logging.getLogger(__name__)
CAPTIONS_PER_SCENE = 4
LENGTH = 77
UNKNOWN = 0
BATCH = 32


@dataclass
class Vocabulary:
    """Only the tokens that occur get a row while training; all others share row 0, "an unknown word".

    Start and end stand last, as in CLIP's own vocabulary.
    """

    rows: dict[int, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return 1 + len(self.rows) + 2

    def learn(self, token: int) -> int:
        return self.rows.setdefault(token, 1 + len(self.rows))


def make_dataset(folder: Path, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, scenes: int) -> dict[str, object]:
    """Latents [scene, 4, 16, 16] half, tokens [scene, caption, 77] int16 and the vocabulary; kept in `folder`."""
    path = folder / "dataset.pt"
    if path.exists():
        return dict(torch.load(path))
    rng, vocabulary = random.Random(12345), Vocabulary()
    pictures = torch.zeros(scenes, 128, 128, 3, dtype=torch.uint8)
    captions: list[list[list[int]]] = []
    for index in range(scenes):
        scene = make_scene(rng)
        pictures[index] = torch.from_numpy(scene.picture)
        texts = [caption_text(make_caption(rng, scene.plan)) for _ in range(CAPTIONS_PER_SCENE)]
        captions.append([_with_unknown(rng, _body(tokenizer, vocabulary, text)) for text in texts])
    logger.info("%d scenes drawn, %d tokens in use", scenes, len(vocabulary.rows))
    tokens = torch.tensor([[_padded(body, vocabulary) for body in bodies] for bodies in captions], dtype=torch.int16)
    data = {"latents": encode(autoencoder, pictures), "tokens": tokens, "rows": vocabulary.rows}
    torch.save(data, path)
    return data


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, pictures: Tensor) -> Tensor:
    """[picture, 128, 128, 3] uint8 to scaled latents [picture, 4, 16, 16], half."""
    latents = [
        autoencoder.encode(to_input(batch.permute(0, 3, 1, 2))).latent_dist.mean for batch in pictures.split(BATCH)
    ]
    return (torch.cat(latents) * autoencoder.config.scaling_factor).half()


def _body(tokenizer: CLIPTokenizer, vocabulary: Vocabulary, text: str) -> list[int]:
    ids = tokenizer(text)["input_ids"]
    return [vocabulary.learn(token) for token in ids if token not in (BOS, EOS)]


def _with_unknown(rng: random.Random, body: list[int]) -> list[int]:
    """Unknown words here and there, so that the trained model takes them calmly."""
    mixed: list[int] = [UNKNOWN] * rng.randint(1, 3) if rng.random() < 0.1 else []
    for token in body:
        mixed += [token, UNKNOWN] if rng.random() < 0.01 else [token]
    return mixed


def _padded(body: list[int], vocabulary: Vocabulary) -> list[int]:
    start, end = vocabulary.size - 2, vocabulary.size - 1
    ids = [start, *body[: LENGTH - 2]]
    return ids + [end] * (LENGTH - len(ids))
