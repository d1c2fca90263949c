"""Measures the embedded model and its heat maps against what is really in the pictures.

    python -m benchmarks.segmentation
    python -m benchmarks.segmentation --maps [--ablation]

Pictures are cut into objects by colour. An object counts as present when its colour covers a plausible part of the
picture; its shape is the one whose outline, drawn by the training's own code, overlaps the found region most.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.intervals import interval
from benchmarks.machine import machine
from benchmarks.strict import is_strictly_right, touch
from daam.hosts.diffusers_models import EMBEDDED, EMBEDDED_GUIDANCE_SCALE, load_pipeline, set_sampler
from daam.hosts.diffusers_trace import trace
from daam.maps.heat_maps import HeatMaps
from daam.pictures.grid import make_grid
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import LatestOfImage
from tools.train_demo_model.autoencoder import to_input
from tools.train_demo_model.drawing import SHAPES, draw_mask
from tools.train_demo_model.held_out import BACKGROUNDS, Caption, make_captions
from tools.train_demo_model.palette import RGB
from tools.train_demo_model.scenes import make_scene

Mask = NDArray[np.bool_]
THRESHOLDS = (0.3, 0.4, 0.5)
FARTHEST = 90.0
"""Largest distance in RGB from an object's colour that still counts as that colour."""
AREA = (0.004, 0.6)
"""Share of the picture that an object must cover to count as present."""
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


@dataclass(frozen=True)
class Found:
    """One object that is present: its region, its noun, and the other noun where there is one."""

    sample: Sample
    mask: Mask
    noun: str
    colour: str
    other: str | None


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
    colors = [RGB[color] for color, _ in caption.objects] + [RGB[caption.background]]
    distances = np.linalg.norm(picture[:, :, None].astype(np.float64) - np.array(colors), axis=-1)
    nearest = distances.argmin(axis=-1)
    return tuple((nearest == index) & (distances[..., index] < FARTHEST) for index in range(len(caption.objects)))


def is_present(mask: Mask) -> bool:
    return AREA[0] < mask.mean() < AREA[1]


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


def found_objects(samples: Sequence[Sample]) -> list[Found]:
    found = []
    for sample in samples:
        colours, nouns = zip(*sample.caption.objects)
        for index, mask in enumerate(sample.masks):
            if is_present(mask):
                other = nouns[1 - index] if len(nouns) == 2 else None
                found.append(Found(sample, mask, nouns[index], colours[index], other))
    return found


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


def noun_rows(found: Sequence[Found], select: Select = lambda maps: maps) -> list[list[float]]:
    """IoU of each noun's map with its object at each threshold, and whether the peak lies on the object."""
    rows = []
    for thing in found:
        heat_map = select(HeatMaps(thing.sample.trace))[thing.noun]
        peak = np.unravel_index(int(heat_map.values.argmax()), heat_map.values.shape)
        rows.append([intersection_over_union(heat_map.mask(tau), thing.mask) for tau in THRESHOLDS] +
                    [float(thing.mask[peak])])  # fmt: skip
    return rows


def probe_scores(found: Sequence[Found], *, with_colour: bool) -> dict[str, float]:
    """The same for the noun, or colour and noun, as a probe word that knows nothing of the caption."""
    rows = []
    for thing in found:
        term = f"{thing.colour} {thing.noun}" if with_colour else f"{thing.noun}#1"
        rows.append(_scores_of(HeatMaps(thing.sample.trace, side="probe")[term].values, thing.mask))
    return _named(rows)


def baseline_scores(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """The same for maps that know nothing of the picture, and for the other noun's map."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[list[float]]] = {"uniform": [], "centred disc": [], "random disc": [], "other noun": []}
    for thing in found:
        height, width = thing.mask.shape
        rows["uniform"].append(_scores_of(np.ones((height, width)), thing.mask))
        rows["centred disc"].append(_scores_of(_cone((height / 2, width / 2), thing.mask.shape), thing.mask))
        center = (rng.uniform(0, height), rng.uniform(0, width))
        rows["random disc"].append(_scores_of(_cone(center, thing.mask.shape), thing.mask))
        if thing.other is not None:
            other = HeatMaps(thing.sample.trace)[thing.other].values
            rows["other noun"].append(_scores_of(other, thing.mask))
    return {name: _named(scores) for name, scores in rows.items()}


def _cone(center: tuple[float, float], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A disc that fades from its centre as a gaussian of a quarter of the picture."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    squares = (rows - center[0]) ** 2 + (columns - center[1]) ** 2
    return np.exp(-squares / (2 * (shape[0] / 4) ** 2))


def _scores_of(values: NDArray[np.floating], mask: Mask) -> list[float]:
    peak = np.unravel_index(int(values.argmax()), values.shape)
    ious = [intersection_over_union(values >= tau * values.max(), mask) for tau in THRESHOLDS]
    return ious + [float(mask[peak])]


def _ends(rows: Sequence[Sequence[float]], end: int) -> dict[str, float]:
    """Lower or upper ends of the intervals of `_named`."""
    return dict(zip(_named([]), interval(rows)[end].tolist())) if rows else _named([])


def _named(rows: Sequence[Sequence[float]]) -> dict[str, float]:
    names = [f"IoU {tau}" for tau in THRESHOLDS] + ["peak"]
    return dict(zip(names, np.mean(rows, axis=0).tolist() if rows else [float("nan")] * len(names)))


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
    found = found_objects(samples)
    pictures = {**picture_scores(samples), **drawn_scores(model=options.model)}
    rows = noun_rows(found)
    result: dict[str, dict[str, float]] = {"noun": _named(rows)}
    result |= {"noun, 95 %, from": _ends(rows, 0), "noun, 95 %, to": _ends(rows, 1)}
    if not options.brief:
        result["noun as a probe word"] = probe_scores(found, with_colour=False)
        result["colour and noun as probe words"] = probe_scores(found, with_colour=True)
        result |= {f"baseline: {name}": scores for name, scores in baseline_scores(found).items()}
        groups = {**LAYER_GROUPS, **step_ranges(options.steps)}
        result |= {f"noun, {name}": _named(noun_rows(found, select)) for name, select in groups.items()}
    print(f"{len(samples)} captions, {len(found)} objects found, {options.steps} steps; {machine()}\n")
    for name, values in pictures.items():
        low, high = interval(values)
        print(f"{name:36} {np.mean(values):6.1%}   95 %: {low:.1%} to {high:.1%} of {len(values)}")
    print(f"\n{'':32} " + "  ".join(f"{column:>7}" for column in result["noun"]))
    for name, scores in result.items():
        print(f"{name:32} " + "  ".join(f"{value:7.3f}" for value in scores.values()))
    if options.json is not None:
        means = {name: float(np.mean(values)) for name, values in pictures.items()}
        options.json.write_text(json.dumps({"pictures": means, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
