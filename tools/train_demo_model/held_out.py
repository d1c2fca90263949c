"""The captions that the embedded model is measured on: one or two shapes on a plain ground, never trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tools.train_demo_model.captions import STARTS, is_held_out, with_article
from tools.train_demo_model.drawing import SHAPES
from tools.train_demo_model.palette import distance

COLORS = ("red", "green", "blue", "yellow", "orange", "purple", "pink")
BACKGROUNDS = ("white", "black", "gray")
OPENINGS = ("", *(f"{start} " for start in STARTS))
GROUNDS = (" on a {} background", " on a {} background", ", {} background", " on {}")
LEAST_DISTANCE = 160
"""Least distance of two objects' colours, so that a picture can be cut into them by colour."""


@dataclass(frozen=True)
class Caption:
    """A caption, and what should be seen: colour and shape of each object, and the ground."""

    text: str
    objects: tuple[tuple[str, str], ...]
    background: str


def make_captions(count: int, seed: int = 5) -> list[Caption]:
    """Different captions that are all held out; every second has two objects.

    Raises:
        ValueError: there are not that many.
    """
    rng = random.Random(seed)
    found: dict[str, Caption] = {}
    for _ in range(1000 * count):
        if len(found) == count:
            return list(found.values())
        caption = _caption(rng, number=1 + len(found) % 2)
        if caption is not None and is_held_out(caption.text):
            found.setdefault(caption.text, caption)
    raise ValueError(f"expected at most about 400 captions, got {count}")


def _caption(rng: random.Random, number: int) -> Caption | None:
    colors, shapes = rng.sample(COLORS, number), rng.sample(list(SHAPES), number)
    if number == 2 and distance(colors[0], colors[1]) < LEAST_DISTANCE:
        return None
    background = rng.choice(BACKGROUNDS)
    phrases = [with_article(f"{color} {shape}") for color, shape in zip(colors, shapes)]
    link = rng.choice([" and ", " and ", " next to ", " above ", " to the left of "])
    text = rng.choice(OPENINGS) + link.join(phrases) + rng.choice(GROUNDS).format(background)
    return Caption(text, tuple(zip(colors, shapes)), background)
