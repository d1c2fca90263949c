"""Makes a folder with true masks for `daam evaluate`, offline: scenes that are drawn, and painted over by the model.

    python -m benchmarks.painted_scenes DIR && daam evaluate DIR

Image to image at strength 0.3 keeps a scene's objects where they were drawn, so that their masks are true of the
picture that the model made. Laid out as the DAAM authors' code reads it, with a record of the heat maps beside.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from daam.hosts.diffusers_models import EMBEDDED, EMBEDDED_GUIDANCE_SCALE, load_pipeline, set_sampler
from daam.hosts.diffusers_trace import trace
from daam.results.record import save_record
from daam.results.result import Notes, Result
from daam.studies.batch.folder import PICTURE, PROMPT, RECORD, SEED
from daam.studies.evaluation.folders import TRUTH
from daam.studies.evaluation.masks import Mask, write_mask
from tools.train_demo_model.captions import Word, caption_text, make_caption
from tools.train_demo_model.scenes import make_scene

STRENGTH = 0.3
STEPS = 20


@dataclass(frozen=True)
class Drawn:
    """A drawn scene: its caption, and the mask of each noun."""

    prompt: str
    picture: Image.Image
    masks: dict[str, Mask]


def drawn_scenes(count: int, seed: int = 0) -> Iterator[Drawn]:
    """Scenes whose nouns are all different words."""
    rng = random.Random(seed)
    found = 0
    while found < count:
        scene = make_scene(rng)
        words = make_caption(rng, scene.plan)
        nouns = [_noun(words, index) for index in range(len(scene.masks))]
        spoken = [word.text for word in words]
        if len(set(nouns)) == len(nouns) and all(spoken.count(noun) == 1 for noun in nouns):
            found += 1
            masks = {noun: mask > 127 for noun, mask in zip(nouns, scene.masks)}
            yield Drawn(caption_text(words), Image.fromarray(scene.picture), masks)


def _noun(words: list[Word], index: int) -> str:
    return [word.text for word in words if word.subject == index][-1]


def painted_over(pipeline: Any, drawn: Drawn, seed: int) -> Result:
    """What the model makes of a drawn scene, traced."""
    with trace(pipeline, keep="refined") as tracer:
        picture = pipeline(
            drawn.prompt,
            image=drawn.picture,
            strength=STRENGTH,
            num_inference_steps=STEPS,
            guidance_scale=EMBEDDED_GUIDANCE_SCALE,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
    notes = Notes(drawn.prompt, seed, EMBEDDED, {"strength": STRENGTH, "steps": STEPS})
    return Result([picture], [tracer.image_trace()], notes=notes)


def write_scenes(folder: Path, count: int, seed: int = 0) -> float:
    """Writes the folder; returns by how much the model changed the pictures, 0..1."""
    plain = load_pipeline(EMBEDDED)
    set_sampler(plain, "DPM++ 2M")
    pipeline = StableDiffusionImg2ImgPipeline(
        **plain.components, requires_safety_checker=False  # type: ignore[arg-type]
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    changes = []
    for number, drawn in enumerate(drawn_scenes(count, seed)):
        place = folder / f"{number:05}"
        place.mkdir(parents=True, exist_ok=True)
        result = painted_over(pipeline, drawn, number)
        picture = result.pictures[0]
        difference = np.abs(np.asarray(picture, np.float64) - np.asarray(drawn.picture, np.float64))
        changes.append(float(difference.mean() / 255))
        (place / PROMPT).write_text(drawn.prompt + "\n", "utf-8")
        (place / SEED).write_text(f"{number}\n", "utf-8")
        picture.save(place / PICTURE)
        for noun, mask in drawn.masks.items():
            write_mask(place / f"{noun}{TRUTH}", mask)
        save_record(place / RECORD, result)
    return float(np.mean(changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    change = write_scenes(options.folder, options.scenes, options.seed)
    print(f"{options.scenes} scenes in {options.folder}; the model changed the pictures by {change:.1%}")


if __name__ == "__main__":
    main()
