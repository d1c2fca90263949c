"""The three sets of objects whose regions are known, and how well each kind of map finds them.

    python -m benchmarks.segmentation --maps [--ablation]

*generated* are pictures of captions that were never trained on, cut into objects by colour: there the truth is the
colour. *things* and *same* are drawn scenes with exact masks, see `benchmarks.drawn_scenes`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.drawn_scenes import DrawnScene, look_at, same, things
from benchmarks.machine import machine
from benchmarks.regions import ABLATION, MAPS, Region, lines_of, measure
from benchmarks.segmentation import generate_samples
from daam.demo_model.colours import is_present
from daam.hosts.diffusers_models import load_pipeline
from tools.train_demo_model.held_out import make_captions

SCENES = {"things": 70, "same": 40}


def generated_set(captions: int, steps: int, model: str) -> list[Region]:
    """Every object that is there, in pictures of the captions."""
    samples = list(generate_samples(make_captions(captions), steps, False, model, keep_refined=True))
    regions = []
    for number, sample in enumerate(samples):
        other = samples[(number + 1) % len(samples)].along
        for mask, (_, noun) in zip(sample.masks, sample.caption.objects):
            if is_present(mask) and sample.along is not None and other is not None:
                picture = np.asarray(sample.picture)
                regions.append(Region(noun, mask, picture, sample.trace, sample.along, other, number))
    return regions


def drawn_set(scenes: Sequence[DrawnScene], steps: int, model: str) -> list[Region]:
    """The measured objects of drawn scenes."""
    seen = list(look_at(load_pipeline(model), scenes, steps))
    return [
        Region(noun, mask, each.scene.picture, each.trace, each.along, seen[(number + 1) % len(seen)].along, number)
        for number, each in enumerate(seen)
        for noun, mask in each.scene.masks.items()
    ]


def measure_maps(captions: int, steps: int, model: str, file: Path | None, *, with_ablation: bool = False) -> None:
    """Prints a table for each set. Args: captions: of the generated set; file: for the numbers as JSON."""
    started = time.process_time()
    print(f"{steps} steps; {machine()}")
    makers = {**MAPS, **(ABLATION if with_ablation else {})}
    found: dict[str, Mapping[str, Mapping[str, float]]] = {}
    sets = {
        "generated": lambda: generated_set(captions, steps, model),
        "things": lambda: drawn_set(things(SCENES["things"]), steps, model),
        "same": lambda: drawn_set(same(SCENES["same"]), steps, model),
    }
    for name, make in sets.items():
        regions = make()
        found[name] = measure(regions, makers)
        pictures = len({region.caption for region in regions})
        print(f"\n{name}: {len(regions)} objects in {pictures} pictures")
        print("\n".join(lines_of(found[name])), flush=True)
    print(f"\n{time.process_time() - started:.0f} s of CPU time")
    if file is not None:
        file.write_text(json.dumps(found, indent=1) + "\n")
