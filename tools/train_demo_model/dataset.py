"""Scenes as the UNet trains on them: latents, captions as rows of a compact vocabulary, and what a scene is like."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from .captions import caption_text, make_caption
from .drawing import SHAPES
from .latents import cell_latents
from .networks import BOS, EOS
from .scenes import Plan, make_scene

logger = logging.getLogger(__name__)
CAPTIONS_PER_SCENE = 4
LENGTH = 77
UNKNOWN = 0
SEED = 12345
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

    def learn(self, token: int) -> int:
        return self.rows.setdefault(token, 1 + len(self.rows))


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


def make_dataset(folder: Path, tokenizer: CLIPTokenizer, scenes: int) -> Data:
    """So many scenes; kept in `folder`, taken from there when they are already drawn."""
    path = folder / "dataset.pt"
    if path.exists():
        return Data(**torch.load(path))
    data = draw_dataset(tokenizer, scenes)
    torch.save(asdict(data), path)
    return data


def draw_dataset(tokenizer: CLIPTokenizer, scenes: int, seed: int = SEED) -> Data:
    rng, vocabulary = random.Random(seed), Vocabulary()
    latents = torch.empty(scenes, 4, 16, 16, dtype=torch.float16)
    captions: list[list[list[int]]] = []
    plans: list[Plan] = []
    for index in range(scenes):
        scene = make_scene(rng)
        latents[index] = cell_latents(scene.picture[np.newaxis])[0]
        texts = [caption_text(make_caption(rng, scene.plan)) for _ in range(CAPTIONS_PER_SCENE)]
        captions.append([_with_unknown(rng, _body(tokenizer, vocabulary, text)) for text in texts])
        plans.append(scene.plan)
    logger.info("%d scenes drawn, %d tokens in use", scenes, len(vocabulary.rows))
    return Data(
        latents=latents,
        tokens=torch.tensor([[_padded(body, vocabulary) for body in four] for four in captions], dtype=torch.int16),
        rows=vocabulary.rows,
        objects=torch.tensor([len(plan.objects) for plan in plans]),
        is_shapes=torch.tensor([_is_shapes(plan) for plan in plans]),
        has_small=torch.tensor([any(thing.size == "small" for thing in plan.objects) for plan in plans]),
        has_near=torch.tensor([_has_near(plan) for plan in plans]),
    )


def _is_shapes(plan: Plan) -> bool:
    return not plan.is_outdoor and all(thing.kind in SHAPES for thing in plan.objects)


def _has_near(plan: Plan) -> bool:
    return any(
        math.hypot(one.x - other.x, one.y - other.y) < NEAR * (one.radius + other.radius)
        for one, other in combinations(plan.objects, 2)
    )


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
