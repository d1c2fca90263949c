"""Measures the embedded model and its heat maps against what is really in the pictures.

    python -m benchmarks.segmentation
    python -m benchmarks.segmentation --maps [--ablation]

Pictures are cut into objects by colour. An object counts as present when its colour covers a plausible part of the
picture; its shape is the one whose outline, drawn by the training's own code, overlaps the found region most. The heat
maps are scored by `daam evaluate`, which needs `pip install ".[studies]"`.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.intervals import interval
from benchmarks.machine import machine
from benchmarks.strict import is_strictly_right, touch
from daam.demo_model.colours import colour_regions, is_present
from daam.hosts.diffusers_models import EMBEDDED, EMBEDDED_GUIDANCE_SCALE, load_pipeline, set_sampler
from daam.hosts.diffusers_trace import trace
from daam.maps.heat_maps import HeatMaps
from daam.pictures.grid import make_grid
from daam.studies.evaluation.folders import HERE, Place
from daam.studies.evaluation.report import findings_of
from daam.studies.evaluation.scoring import Protocol, Scoring
from daam.studies.numbers.writing import plain_data
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import LatestOfImage
from daam.tracing.plan import Side
from tools.train_demo_model.autoencoder import to_input
from tools.train_demo_model.drawing import SHAPES, draw_mask
from tools.train_demo_model.held_out import BACKGROUNDS, Caption, make_captions
from tools.train_demo_model.palette import RGB
from tools.train_demo_model.scenes import make_scene

Mask = NDArray[np.bool_]
THRESHOLDS = (0.3, 0.4, 0.5)
TEMPLATE = 40
BATCH = 20
SEED = 1000


@dataclass(frozen=True)
class Sample:
    """A generated picture with its trace, its caption, the found region of each object, and what its maps are refined
    along where that was asked for."""

    caption: Caption
    picture: Image.Image
    trace: ImageTrace
    masks: tuple[Mask, ...]
    along: LatestOfImage | None = None


def generate_samples(
    captions: Sequence[Caption], steps: int, keep_steps: bool, model: str = EMBEDDED, keep_refined: bool = False
) -> Iterator[Sample]:
    """Pictures of the captions in batches, traced; with the steps go the probe words."""
    keep = [*(["steps"] if keep_steps else []), *(["refined"] if keep_refined else [])]
    pipeline = load_pipeline(model)
    set_sampler(pipeline, "DPM++ 2M")
    for start in range(0, len(captions), BATCH):
        batch = captions[start : start + BATCH]
        seeds = [torch.Generator().manual_seed(SEED + start + index) for index in range(len(batch))]
        with trace(pipeline, keep=keep, probe=probe_of(batch) if keep_steps else "") as tracer:
            pictures = pipeline(
                [caption.text for caption in batch],
                num_inference_steps=steps,
                guidance_scale=EMBEDDED_GUIDANCE_SCALE,
                generator=seeds,
            ).images
            along = [tracer.self_attention(index) if keep_refined else None for index in range(len(batch))]
        for index, (caption, picture) in enumerate(zip(batch, pictures)):
            masks = segment(np.asarray(picture), caption)
            yield Sample(caption, picture, tracer.image_trace(index), masks, along[index])


def probe_of(captions: Sequence[Caption]) -> str:
    """Every noun of the captions by itself, then each with its colour: as probe words, they see no caption."""
    objects = list(dict.fromkeys(thing for caption in captions for thing in caption.objects))
    nouns = dict.fromkeys(noun for _, noun in objects)
    return ", ".join([*nouns, *(f"{colour} {noun}" for colour, noun in objects)])


def segment(picture: NDArray[np.uint8], caption: Caption) -> tuple[Mask, ...]:
    """The region of each object: pixels nearer to its colour than to any other colour of the caption."""
    colours = [*(colour for colour, _ in caption.objects), caption.background]
    return tuple(colour_regions(picture, colours)[: len(caption.objects)])


def recognise(mask: Mask) -> str:
    """The shape whose outline overlaps the region most, both brought to one size."""
    cut = _normalised(mask)
    return max(SHAPES, key=lambda shape: intersection_over_union(cut, _normalised(draw_mask(shape, 256))))


def _normalised(mask: Mask) -> Mask:
    """The largest connected region, centred in a square of 40x40."""
    _, labels, numbers, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = labels == 1 + int(numbers[1:, cv2.CC_STAT_AREA].argmax())
    rows, columns = np.where(largest)
    cut = largest[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    side = max(cut.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut * 255
    return np.asarray(cv2.resize(square, (TEMPLATE, TEMPLATE), interpolation=cv2.INTER_AREA) > 127)


def intersection_over_union(first: Mask, second: Mask) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 0.0


def picture_scores(samples: Sequence[Sample]) -> dict[str, list[bool]]:
    """For each object: is it there in its colour, and in its shape (of those that are there)? For each picture: is it
    strictly right? For each pair that touches: are both shapes right, so that neither colour leaked?"""
    scores: dict[str, list[bool]] = {}
    for number, name in ((1, "one object"), (2, "two objects")):
        some = [sample for sample in samples if len(sample.masks) == number]
        pairs = [(mask, shape) for sample in some for mask, (_, shape) in zip(sample.masks, sample.caption.objects)]
        scores[f"{name}: in its colour"] = [is_present(mask) for mask, _ in pairs]
        scores[f"{name}: in its shape"] = [recognise(mask) == shape for mask, shape in pairs if is_present(mask)]
        scores[f"{name}: strictly right"] = [is_right(sample) for sample in some]
    scores["two that touch: both shapes"] = [
        shapes_are_right(sample) for sample in samples if len(sample.masks) == 2 and touch(*sample.masks)
    ]
    return scores


def is_right(sample: Sample) -> bool:
    ground = RGB[sample.caption.background]
    return is_strictly_right(np.asarray(sample.picture), sample.masks, ground, shapes_are_right(sample))


def shapes_are_right(sample: Sample) -> bool:
    wanted = [shape for _, shape in sample.caption.objects]
    return all(is_present(mask) and recognise(mask) == shape for mask, shape in zip(sample.masks, wanted))


def drawn_scores(count: int = 100, model: str = EMBEDDED) -> dict[str, list[bool]]:
    """What the measurement of shapes itself allows: the same for scenes as they were drawn, and through the VAE."""
    vae, rng = load_pipeline(model).vae, random.Random(99)
    recognised: dict[str, list[bool]] = {"drawn": [], "drawn, through the VAE": []}
    while len(recognised["drawn"]) < count:
        scene = make_scene(rng)
        things = [(thing.color, thing.kind) for thing in scene.plan.objects]
        if scene.plan.background not in BACKGROUNDS or not all(kind in SHAPES for _, kind in things):
            continue
        pixels = to_input(torch.tensor(scene.picture).permute(2, 0, 1)[None]).to(vae.dtype)
        with torch.no_grad():
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample[0].permute(1, 2, 0)
        through = ((decoded.float() + 1) * 127.5).clamp(0, 255).byte().numpy()
        caption = Caption("", tuple(things), str(scene.plan.background))
        for name, picture in (("drawn", scene.picture), ("drawn, through the VAE", through)):
            for mask, (_, kind) in zip(segment(picture, caption), things):
                if is_present(mask):
                    recognised[name].append(recognise(mask) == kind)
    return {f"{name}: in its shape": found for name, found in recognised.items()}


Select = Callable[[HeatMaps], HeatMaps]
LAYER_GROUPS: dict[str, Select] = {
    "16×16": lambda maps: maps.select(resolutions=[(16, 16)]),
    "8×8": lambda maps: maps.select(resolutions=[(8, 8)]),
    "4×4": lambda maps: maps.select(resolutions=[(4, 4)]),
    "down": lambda maps: maps.select(layers="down_blocks.*"),
    "middle": lambda maps: maps.select(layers="mid_block.*"),
    "up": lambda maps: maps.select(layers="up_blocks.*"),
}


def step_ranges(steps: int) -> dict[str, Select]:
    thirds = [(steps * third // 3, steps * (third + 1) // 3 - 1) for third in range(3)]
    return {f"steps {first + 1}–{last + 1}": _select_steps(first, last) for first, last in thirds}


def _select_steps(first: int, last: int) -> Select:
    return lambda maps: maps.select(steps=(first, last))


Name = Callable[[str, str], str]
"""What an object's map is asked for with: its colour and its noun give a term."""


def map_scores(
    samples: Sequence[Sample],
    select: Select = lambda maps: maps,
    *,
    side: Side = "positive",
    name: Name = lambda colour, noun: noun,
) -> Mapping[str, Any]:
    """What `daam evaluate` says of the objects that are there, by threshold and score."""
    scoring = Scoring(Protocol(THRESHOLDS))
    for number, sample in enumerate(samples):
        things = zip(sample.masks, sample.caption.objects)
        truth = {name(colour, noun): mask for mask, (colour, noun) in things if is_present(mask)}
        scoring.add(Place(str(number), HERE, Path()), truth, select(HeatMaps(sample.trace, side=side)))
    return findings_of(scoring.finish(), scoring, {}).results


def row_of(name: str, scores: Mapping[str, Any], score: str = "iou") -> str:
    """A line of a mean at each threshold, and of the peak where it is of a map."""
    found = [scores[f"{tau:g}"][score] for tau in THRESHOLDS]
    found += [scores[f"{THRESHOLDS[0]:g}"]["peak_on_object"]] if score == "iou" else []
    return f"{name:32} " + "  ".join(f"{each.text(digits=3):32}" for each in found)


BASELINES = {
    "baseline: whole picture": "iou_whole_picture",
    "baseline: centred disc": "iou_centred_disc",
    "baseline: the other noun's map": "iou_other_noun",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", default=EMBEDDED, help="a diffusers folder with another training of the same words")
    parser.add_argument("--pictures", type=Path, help="write the pictures here too, in a sheet")
    parser.add_argument("--brief", action="store_true", help="pictures and the noun's own map alone")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--maps", action="store_true", help="readings of the trace and controls on three sets instead")
    parser.add_argument("--ablation", action="store_true", help="with --maps: other definitions of the refined map too")
    options = parser.parse_args()
    if options.maps:
        from benchmarks.region_sets import measure_maps

        measure_maps(options.captions, options.steps, options.model, options.json, with_ablation=options.ablation)
        return
    captions = make_captions(options.captions)
    samples = list(generate_samples(captions, options.steps, not options.brief, options.model))
    if options.pictures is not None:
        make_grid([sample.picture for sample in samples], layout="batch-rows", batch_size=20).save(options.pictures)
    pictures = {**picture_scores(samples), **drawn_scores(model=options.model)}
    found = {"noun": map_scores(samples)}
    if not options.brief:
        alone, coloured = (lambda colour, noun: f"{noun}#1"), (lambda colour, noun: f"{colour} {noun}")
        found["noun as a probe word"] = map_scores(samples, side="probe", name=alone)
        found["colour and noun as probe words"] = map_scores(samples, side="probe", name=coloured)
        groups = {**LAYER_GROUPS, **step_ranges(options.steps)}
        found |= {f"noun, {name}": map_scores(samples, select) for name, select in groups.items()}
    print(f"{len(samples)} captions, {options.steps} steps; {machine()}\n")
    for name, values in pictures.items():
        low, high = interval(values)
        print(f"{name:36} {np.mean(values):6.1%}   95 %: {low:.1%} to {high:.1%} of {len(values)}")
    print(f"\n{'':32} " + "  ".join(f"{column:32}" for column in (*(f"IoU {tau}" for tau in THRESHOLDS), "peak")))
    for name, scores in found.items():
        print(row_of(name, scores))
    for name, score in BASELINES.items():
        print(row_of(name, found["noun"], score))
    if options.json is not None:
        means = {name: float(np.mean(values)) for name, values in pictures.items()}
        options.json.write_text(json.dumps({"pictures": means, **plain_data(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
