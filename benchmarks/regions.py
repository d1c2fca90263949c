"""How well maps find the region of an object: readings of a trace and controls, on three sets of truth.

*generated* are the pictures of `benchmarks.segmentation`, whose truth is the colour; *things* and *same* are those of
`benchmarks.drawn_scenes`. IoU is at one threshold that was chosen on the other half of the captions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.intervals import interval
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import READINGS
from daam.tracing.image_trace import ImageTrace
from daam.tracing.latest import LatestOfImage
from daam.tracing.refining import on_grid, refine

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
BLUR = 4.0
"""Pixels, half a cell of the finest maps."""
COLOUR = 24.0
"""Deviation in RGB within which two places count as of one colour."""
COLOUR_SIDE = 64


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


def by_colour(region: Region) -> Values:
    """The plain map carried along the picture's own colours, in the same window: no attention but the map's."""
    small = cv2.resize(region.picture, (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA)
    colours = torch.tensor(small, dtype=torch.float32).flatten(0, 1)
    seed = cv2.resize(HeatMaps(region.trace)[region.noun].values, (COLOUR_SIDE, COLOUR_SIDE))
    unit = (torch.tensor(seed).flatten() - float(seed.min())) / max(float(np.ptp(seed)), 1e-12)
    places = torch.stack(torch.meshgrid(*[torch.arange(COLOUR_SIDE, dtype=torch.float32)] * 2, indexing="ij"), dim=-1)
    alike = torch.exp(-(torch.cdist(colours, colours) ** 2) / (2 * COLOUR**2))
    alike *= torch.exp(-(torch.cdist(*[places.flatten(0, 1)] * 2) ** 2) / (2 * (COLOUR_SIDE / 4) ** 2))
    carried = (alike @ unit**2) / alike.sum(dim=1)
    return _large(carried.reshape(COLOUR_SIDE, COLOUR_SIDE).numpy(), region.mask.shape)


MAPS: dict[str, Maker] = {
    **{name: _reading(name) for name in READINGS},
    "control: plain, blurred": blurred,
    "control: refined along another picture": along_another,
    "control: plain, grouped by the picture's colours": by_colour,
}


def _on_grid(region: Region) -> torch.Tensor:
    """[1, height, width]: the noun's plain map on the grid that maps are refined on."""
    sums = HeatMaps(region.trace).by_size(region.noun)
    return on_grid([maps[None] for maps in sums.values()], region.along.size)


def _large(values: NDArray[np.floating], shape: tuple[int, ...]) -> Values:
    return np.maximum(cv2.resize(values.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC), 0)


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
        rows.append([_iou(values >= tau * values.max(), region.mask) for tau in THRESHOLDS])
        precisions.append(average_precision(values, region.mask))
        peaks.append(float(region.mask.ravel()[int(values.argmax())]))
    return Scores(np.array(rows), np.array(precisions), np.array(peaks))


def _iou(first: Mask, second: Mask) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 0.0


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


def table(sets: Mapping[str, Sequence[Region]], makers: Mapping[str, Maker] = MAPS, base: str = "plain") -> list[str]:
    """Lines of a table for people: each kind of map on each set, and how much better it is than the first."""
    lines = []
    for set_name, regions in sets.items():
        captions = [region.caption for region in regions]
        lines.append(f"\n{set_name}: {len(regions)} objects in {len(set(captions))} pictures")
        lines.append(f"{'':50} {'IoU':>6} {'precision':>10} {'peak':>7}   threshold   IoU beyond {base} [95 %]")
        base_iou: NDArray[np.float64] | None = None
        for name, make in makers.items():
            scores = score(regions, make)
            iou, chosen = at_chosen_threshold(scores, captions)
            base_iou = iou if base_iou is None else base_iou
            low, high = interval((iou - base_iou).tolist())
            beyond = "" if name == base else f"{(iou - base_iou).mean():+.3f} [{low:+.3f}, {high:+.3f}]"
            lines.append(
                f"{name:50} {iou.mean():6.3f} {scores.precision.mean():10.3f} {scores.peak.mean():7.1%}   "
                f"{chosen[0]:.2f}, {chosen[1]:.2f}  {beyond}"
            )
    return lines
