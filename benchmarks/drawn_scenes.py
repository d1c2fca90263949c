"""Drawn scenes whose masks are exact, and what the model looks at in them: truth that colour alone does not explain.

**things** are objects of several colours, **same** are two objects of one colour. The scenes are new ones by the
training's own code with captions that were never trained on; each is noised to every level of the sampler's schedule,
and the model is called once for each.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from daam.hosts.diffusers_models import set_sampler
from daam.hosts.diffusers_trace import trace
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import LatestOfImage
from tools.train_demo_model.autoencoder import to_input
from tools.train_demo_model.captions import STARTS, is_held_out, with_article
from tools.train_demo_model.drawing import EXTENT, SHAPES
from tools.train_demo_model.palette import distance
from tools.train_demo_model.scenes import (
    LEAST_CONTRAST,
    RADII,
    SHAPE_COLORS,
    SIZE,
    Plan,
    Scene,
    SceneObject,
    draw_scene,
    make_scene,
)

Mask = NDArray[np.bool_]
SEVERAL_COLOURS = ("tree", "house", "car", "cat", "flower", "boat", "mushroom")
"""Kinds that are drawn in more colours than the one that the caption names."""
GROUNDS = {"grass": "on grass", "sand": "on sand", "snow": "on snow", "sea": "on the sea"}
LEAST_AREA = 0.004
"""Share of the picture that is seen of an object that is measured."""
BATCH = 20


@dataclass(frozen=True)
class DrawnScene:
    """Attributes: masks: by the noun, of the objects that are measured."""

    text: str
    picture: NDArray[np.uint8]
    masks: dict[str, Mask]


@dataclass(frozen=True)
class SeenScene:
    """A scene with the maps of all levels, and what refined maps are made along, of the last one."""

    scene: DrawnScene
    trace: ImageTrace
    along: LatestOfImage


def things(count: int, seed: int = 77) -> list[DrawnScene]:
    """Scenes of one or two objects, at least one of them of several colours; only these are measured."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        scene = make_scene(rng)
        kinds = [thing.kind for thing in scene.plan.objects]
        if len(kinds) > 2 or len(set(kinds)) < len(kinds) or not set(kinds) & set(SEVERAL_COLOURS):
            continue
        drawn = _drawn(rng, scene, [kind for kind in kinds if kind in SEVERAL_COLOURS])
        found += [drawn] if drawn is not None else []
    return found


def same(count: int, seed: int = 78) -> list[DrawnScene]:
    """Scenes of two shapes of one colour that do not touch."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        plan = _pair(rng)
        if plan is not None:
            drawn = _drawn(rng, draw_scene(rng, plan), [thing.kind for thing in plan.objects])
            found += [drawn] if drawn is not None else []
    return found


def look_at(pipeline: Any, scenes: Sequence[DrawnScene], steps: int, seed: int = 2000) -> Iterator[SeenScene]:
    """What the model looks at in each scene, at every level of the schedule, with the prompt alone."""
    set_sampler(pipeline, "DPM++ 2M")
    for start in range(0, len(scenes), BATCH):
        batch = scenes[start : start + BATCH]
        latents = _latents(pipeline, batch)
        noise = torch.Generator().manual_seed(seed + start)
        with torch.no_grad(), trace(pipeline, keep="refined") as tracer:
            texts, _ = pipeline.encode_prompt([scene.text for scene in batch], "cpu", 1, False)
            pipeline.scheduler.set_timesteps(steps)
            for timestep in pipeline.scheduler.timesteps:
                levels = timestep.expand(len(batch))
                noised = pipeline.scheduler.add_noise(latents, torch.randn(latents.shape, generator=noise), levels)
                pipeline.unet(noised, timestep, encoder_hidden_states=texts)
            along = [tracer.self_attention(index) for index in range(len(batch))]
        for index, scene in enumerate(batch):
            yield SeenScene(scene, tracer.image_trace(index), along[index])


def _latents(pipeline: Any, scenes: Sequence[DrawnScene]) -> Tensor:
    pixels = torch.stack([torch.tensor(scene.picture).permute(2, 0, 1) for scene in scenes])
    with torch.no_grad():
        latents: Tensor = pipeline.vae.encode(to_input(pixels)).latent_dist.mean
    config = pipeline.vae.config
    return (latents - (getattr(config, "shift_factor", None) or 0)) * config.scaling_factor


def _pair(rng: random.Random) -> Plan | None:
    colour, ground = rng.choice(SHAPE_COLORS), rng.choice(("white", "black", "gray"))
    if distance(colour, ground) < LEAST_CONTRAST:
        return None
    plan = Plan(background=ground)
    for kind in rng.sample(list(SHAPES), 2):
        radius = rng.uniform(*RADII["normal"])
        margin = radius * EXTENT + 1
        x, y = (rng.uniform(margin, SIZE - margin) for _ in range(2))
        plan.objects.append(SceneObject(kind, colour, "normal", x, y, radius))
    first, second = plan.objects
    apart = math.hypot(first.x - second.x, first.y - second.y)
    return plan if apart >= (first.radius + second.radius) * 1.05 else None


def _drawn(rng: random.Random, scene: Scene, measured: Sequence[str]) -> DrawnScene | None:
    text = _held_out_caption(rng, scene.plan)
    masks = {thing.kind: mask > 127 for thing, mask in zip(scene.plan.objects, scene.masks) if thing.kind in measured}
    masks = {kind: mask for kind, mask in masks.items() if mask.mean() >= LEAST_AREA}
    return DrawnScene(text, scene.picture, masks) if text and masks else None


def _held_out_caption(rng: random.Random, plan: Plan) -> str | None:
    """A plain wording that was never trained on; None where the scene has none."""
    phrases = [with_article(f"{thing.color} {thing.kind}") for thing in plan.objects]
    ground = GROUNDS[str(plan.ground)] if plan.is_outdoor else f"on a {plan.background} background"
    wordings = [
        f"{opening}{' and '.join(order)} {ground}"
        for opening in ("", *(f"{start} " for start in STARTS))
        for order in (phrases, phrases[::-1])
    ]
    held_out = sorted({text for text in wordings if is_held_out(text)})
    return rng.choice(held_out) if held_out else None
