"""How well maps find the region of an object: readings of a trace and controls, on three sets of truth.

*generated* are the pictures of `benchmarks.segmentation`, whose truth is the colour; *things* and *same* are those of
`benchmarks.drawn_scenes`. IoU is at one threshold that was chosen on the other half of the captions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.intervals import interval
from benchmarks.segmentation import intersection_over_union
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import READINGS
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import LatestOfImage
from daam.tracing.refining import USUAL, Definition, on_grid, refine

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
BLUR = 4.0
"""Pixels, half a cell of the finest maps."""
COLOUR = 24.0
"""Deviation in RGB within which two places count as of one colour."""


@dataclass(frozen=True)
class Region:
    """One object whose region is known.

    Attributes:
        picture: [height, width, 3] uint8.
        caption: number of its caption within the set.
        other: what another picture's refined maps are made along.
    """

    noun: str
    mask: Mask
    picture: NDArray[np.uint8]
    trace: ImageTrace
    along: LatestOfImage
    other: LatestOfImage
    caption: int


Maker = Callable[[Region], Values]


def _reading(name: str) -> Maker:
    return lambda region: HeatMaps(region.trace).select(reading=name)[region.noun].values


def blurred(region: Region) -> Values:
    return np.asarray(cv2.GaussianBlur(HeatMaps(region.trace)[region.noun].values, (0, 0), BLUR), np.float32)


def along_another(region: Region) -> Values:
    """The plain map carried along the self-attention of another picture."""
    return _large(refine(_on_grid(region), region.other.of(0))[0].numpy(), region.mask.shape)


def by_colour(side: int) -> Maker:
    """The plain map carried along the picture's own colours, in the same window: no attention but the map's.

    Args:
        side: of the grid that it is done on; with that of the model's maps it sees no finer than they do.
    """

    def make(region: Region) -> Values:
        seed = torch.tensor(cv2.resize(HeatMaps(region.trace)[region.noun].values, (side, side))).flatten()
        unit = (seed - seed.min()) / (seed.max() - seed.min()).clamp(min=1e-12)
        small = cv2.resize(region.picture, (side, side), interpolation=cv2.INTER_AREA)
        colours = torch.tensor(small, dtype=torch.float32).flatten(0, 1)
        alike = torch.exp(torch.cdist(colours, colours).square_() / (-2 * COLOUR**2)) * _window(side)
        carried = (alike @ unit**USUAL.contrast) / alike.sum(dim=1)
        return _large(carried.reshape(side, side).numpy(), region.mask.shape)

    return make


@lru_cache
def _window(side: int) -> torch.Tensor:
    rows, columns = np.mgrid[:side, :side].reshape(2, -1).astype(np.float32)
    squares = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    return torch.tensor(np.exp(-squares / (2 * (USUAL.window * side) ** 2)))


def refined_by(definition: Definition, reading: str = "plain") -> Maker:
    """The noun's map in a reading, carried as a definition says."""

    def make(region: Region) -> Values:
        grid = _on_grid(region, reading)
        return _large(refine(grid, region.along.of(0), definition=definition)[0].numpy(), region.mask.shape)

    return make


def refined_twice(region: Region) -> Values:
    once = refine(_on_grid(region), region.along.of(0))
    return _large(refine(once, region.along.of(0), definition=Definition(contrast=1.0))[0].numpy(), region.mask.shape)


def of_finest_layers(region: Region) -> Values:
    maps = HeatMaps(region.trace)
    return maps.select(resolutions=[max(maps.layers.values())])[region.noun].values


def _on_grid(region: Region, reading: str = "plain") -> torch.Tensor:
    """[1, height, width]: the noun's map on the grid that maps are refined on."""
    sums = HeatMaps(region.trace).select(reading=reading).by_size(region.noun)
    return on_grid([maps[None] for maps in sums.values()], region.along.size)


def _large(values: NDArray[np.floating], shape: tuple[int, ...]) -> Values:
    return np.maximum(cv2.resize(values.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC), 0)


MAPS: dict[str, Maker] = {
    **{name: _reading(name) for name, reading in READINGS.items() if reading.needs in (None, "refined")},
    "control: plain, blurred": blurred,
    "control: refined along another picture": along_another,
    "control: plain, grouped by colour, 16×16": by_colour(16),
    "control: plain, grouped by colour, 48×48": by_colour(48),
}
ABLATION: dict[str, Maker] = {
    "plain, finest layers only": of_finest_layers,
    "refined, without the window": refined_by(Definition(window=math.inf)),
    "refined, window of 3/16": refined_by(Definition(window=3 / 16)),
    "refined, window of 5/16": refined_by(Definition(window=5 / 16)),
    "refined, contrast 1": refined_by(Definition(contrast=1)),
    "refined, contrast 2": refined_by(Definition(contrast=2)),
    "refined, all heads alike": refined_by(Definition(telling=0)),
    "refined, heads by their information itself": refined_by(Definition(telling=1)),
    "refined, contrast 2 and heads by information": refined_by(Definition(contrast=2, telling=1)),
    "refined from the balanced map": refined_by(USUAL, "balanced"),
    "refined twice": refined_twice,
}
"""What else the refined map could be."""


@dataclass(frozen=True)
class Scores:
    """Of one kind of map on one set: `iou` [object, threshold], `precision` and `peak` [object]."""

    iou: NDArray[np.float64]
    precision: NDArray[np.float64]
    peak: NDArray[np.float64]


def score(regions: Sequence[Region], make: Maker) -> Scores:
    rows, precisions, peaks = [], [], []
    for region in regions:
        values = make(region)
        rows.append([intersection_over_union(values >= tau * values.max(), region.mask) for tau in THRESHOLDS])
        precisions.append(average_precision(values, region.mask))
        peaks.append(float(region.mask.ravel()[int(values.argmax())]))
    return Scores(np.array(rows), np.array(precisions), np.array(peaks))


def average_precision(values: NDArray[np.floating], mask: Mask) -> float:
    """The mean precision over the mask's pixels, ranked by the map: 1 where they all come first."""
    hits = mask.ravel()[np.argsort(-values.ravel(), kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    return float(precision[hits].mean()) if hits.any() else 0.0


def at_chosen_threshold(scores: Scores, captions: Sequence[int]) -> tuple[NDArray[np.float64], list[float]]:
    """Each object's IoU at the threshold that is best on the other half of the captions, and both thresholds."""
    half = np.array([(caption // 2) % 2 for caption in captions])  # every second caption has two objects
    found, chosen = np.zeros(len(half)), []
    for own in (0, 1):
        best = int(scores.iou[half != own].mean(axis=0).argmax())
        found[half == own] = scores.iou[half == own, best]
        chosen.append(float(THRESHOLDS[best]))
    return found, chosen


def measure(regions: Sequence[Region], makers: Mapping[str, Maker], base: str = "plain") -> dict[str, dict[str, float]]:
    """The means of each kind of map, and how far its IoU is beyond the first's, with a 95 % interval."""
    captions = [region.caption for region in regions]
    found: dict[str, dict[str, float]] = {}
    base_iou, _ = at_chosen_threshold(score(regions, makers[base]), captions)
    for name, make in makers.items():
        scores = score(regions, make)
        iou, chosen = at_chosen_threshold(scores, captions)
        low, high = interval((iou - base_iou).tolist())
        found[name] = {
            "IoU": iou.mean(), "precision": scores.precision.mean(), "peak": scores.peak.mean(),
            "threshold": float(np.mean(chosen)), "beyond": (iou - base_iou).mean(), "from": float(low),
            "to": float(high),
        }  # fmt: skip
        if name in READINGS:
            own = int(np.abs(THRESHOLDS - READINGS[name].threshold).argmin())
            found[name]["IoU at its own threshold"] = scores.iou[:, own].mean()
    return found


def lines_of(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A table for people."""
    lines = [
        f"{'':50} {'IoU':>6} {'precision':>10} {'peak':>7} {'threshold':>10}  IoU beyond plain, 95 %   IoU at its own"
    ]
    for name, row in found.items():
        beyond = f"{row['beyond']:+.3f} [{row['from']:+.3f}, {row['to']:+.3f}]"
        own = f"{row['IoU at its own threshold']:.3f}" if "IoU at its own threshold" in row else ""
        lines.append(
            f"{name:50} {row['IoU']:6.3f} {row['precision']:10.3f} {row['peak']:7.1%} {row['threshold']:10.2f}  "
            f"{beyond:24}  {own}"
        )
    return lines
