"""Scenes as the UNet trains on them: latents, captions as rows of a compact vocabulary, and what a scene is like."""

from __future__ import annotations

import functools
import logging
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from daam.demo_model import TOKENIZER

from .captions import caption_text, make_caption
from .drawing import SHAPES
from .networks import BOS, EOS
from .scenes import Plan, make_scene

logger = logging.getLogger(__name__)
CAPTIONS_PER_SCENE = 4
LENGTH = 77
UNKNOWN = 0
SEED = 12345
FILE = "dataset.pt"
NEAR = 1.2
"""Objects whose centres are closer than this many times the sum of their radii nearly touch; 1.05 is the least."""


@dataclass
class Vocabulary:
    """Only the tokens that occur get a row while training; all others share row 0, "an unknown word".

    Start and end stand last, as in CLIP's own vocabulary.
    """

    rows: dict[int, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return 1 + len(self.rows) + 2

    def row(self, token: int | None) -> int:
        """Of an unknown word, or of a token, which gets its row where it is met first."""
        return UNKNOWN if token is None else self.rows.setdefault(token, 1 + len(self.rows))


@dataclass(frozen=True)
class Data:
    """Many scenes.

    Attributes:
        latents: [scene, 4, 16, 16] half.
        tokens: [scene, caption, 77] int16, rows of the vocabulary.
        rows: the vocabulary: CLIP's token to its row.
        objects: [scene] how many there are.
        is_shapes: [scene] whether it shows nothing but shapes on a plain ground.
        has_small: [scene] whether one of its objects is small.
        has_near: [scene] whether two of its objects nearly touch.
    """

    latents: Tensor
    tokens: Tensor
    rows: dict[int, int]
    objects: Tensor
    is_shapes: Tensor
    has_small: Tensor
    has_near: Tensor


@dataclass(frozen=True)
class Chunk:
    """Some scenes as they are drawn.

    Attributes:
        pictures: [scene, 128, 128, 3] uint8.
        captions: of each scene, of each caption, CLIP's tokens without start and end; None is an unknown word.
        plans: what each scene shows.
    """

    pictures: np.ndarray
    captions: list[list[list[int | None]]]
    plans: list[Plan]


def draw_chunk(rng: random.Random, scenes: int) -> Chunk:
    tokenizer = _tokenizer()
    drawn = [make_scene(rng) for _ in range(scenes)]
    texts = [[caption_text(make_caption(rng, scene.plan)) for _ in range(CAPTIONS_PER_SCENE)] for scene in drawn]
    captions = [[_with_unknown(rng, _body(tokenizer, text)) for text in four] for four in texts]
    return Chunk(np.stack([scene.picture for scene in drawn]), captions, [scene.plan for scene in drawn])


def has_dataset(folder: Path) -> bool:
    return (folder / FILE).exists()


def make_dataset(folder: Path, chunks: Iterable[Chunk], latents_of: Callable[[np.ndarray], Tensor]) -> Data:
    """The scenes, kept in `folder`; taken from there when they are already there.

    Args:
        latents_of: of pictures [scene, 128, 128, 3] uint8, latents [scene, 4, 16, 16].
    """
    if has_dataset(folder):
        return Data(**torch.load(folder / FILE))
    data = collect_dataset(chunks, latents_of)
    torch.save(asdict(data), folder / FILE)
    return data


def collect_dataset(chunks: Iterable[Chunk], latents_of: Callable[[np.ndarray], Tensor]) -> Data:
    vocabulary = Vocabulary()
    latents: list[Tensor] = []
    captions: list[list[list[int]]] = []
    plans: list[Plan] = []
    for chunk in chunks:
        latents.append(latents_of(chunk.pictures).half().cpu())
        captions += [[[vocabulary.row(token) for token in body] for body in four] for four in chunk.captions]
        plans += chunk.plans
    logger.info("%d scenes drawn, %d tokens in use", len(plans), len(vocabulary.rows))
    return Data(
        latents=torch.cat(latents),
        tokens=torch.tensor([[_padded(body, vocabulary) for body in four] for four in captions], dtype=torch.int16),
        rows=vocabulary.rows,
        objects=torch.tensor([len(plan.objects) for plan in plans]),
        is_shapes=torch.tensor([_is_shapes(plan) for plan in plans]),
        has_small=torch.tensor([plan.has_small for plan in plans]),
        has_near=torch.tensor([_has_near(plan) for plan in plans]),
    )


@functools.cache
def _tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(TOKENIZER)


def _is_shapes(plan: Plan) -> bool:
    return not plan.is_outdoor and all(thing.kind in SHAPES for thing in plan.objects)


def _has_near(plan: Plan) -> bool:
    return any(
        math.hypot(one.x - other.x, one.y - other.y) < NEAR * (one.radius + other.radius)
        for one, other in combinations(plan.objects, 2)
    )


def _body(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    return [token for token in tokenizer(text)["input_ids"] if token not in (BOS, EOS)]


def _with_unknown(rng: random.Random, body: list[int]) -> list[int | None]:
    """Unknown words here and there, so that the trained model takes them calmly."""
    mixed: list[int | None] = [None] * rng.randint(1, 3) if rng.random() < 0.1 else []
    for token in body:
        mixed += [token, None] if rng.random() < 0.01 else [token]
    return mixed


def _padded(body: list[int], vocabulary: Vocabulary) -> list[int]:
    start, end = vocabulary.size - 2, vocabulary.size - 1
    ids = [start, *body[: LENGTH - 2]]
    return ids + [end] * (LENGTH - len(ids))
