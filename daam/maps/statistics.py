"""Numbers about each term's heat map. One function and one entry of `STATISTICS` for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daam.errors import SettingError
from daam.maps.heat_maps import HeatMap, HeatMaps

_PIXELS_AT_ONCE = 65_536


@dataclass(frozen=True)
class TermContext:
    """A term's map, and what it is compared with; `overlaps` has the IoU with each other term's mask."""

    heat_map: HeatMap
    heat_maps: HeatMaps
    overlaps: Mapping[str, float]


def strength(context: TermContext) -> float:
    """The term's attention as a share of what all words of the prompt get, 0..1; a word not in it may pass 1."""
    attention, columns = context.heat_maps.attention, dict[tuple[int, int], set[int]]()
    for place in context.heat_map.places:
        if (place.part, place.entry) in attention:
            columns.setdefault((place.part, place.entry), set()).update(place.columns)
    own = sum(attention[text].get(column, 0.0) for text, some in columns.items() for column in some)
    total = context.heat_maps.reference.attention_of_words
    return own / total if total else 0.0


def coverage(context: TermContext) -> float:
    """Share of the picture that the map's mask covers, 0..1: of a plain map where it reaches 0.4 of its maximum."""
    return float(context.heat_map.mask().mean())


def peak(context: TermContext) -> tuple[float, float]:
    """(x, y) of the highest value, 0..1 from the left and from the top."""
    values = context.heat_map.values
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return ((column + 0.5) / values.shape[1], (row + 0.5) / values.shape[0])


def center_of_mass(context: TermContext) -> tuple[float, float]:
    """(x, y) of the centre of mass of what lies in the map's mask, 0..1 from the left and from the top."""
    weights = np.where(context.heat_map.mask(), context.heat_map.values, 0).astype(np.float64)
    total = weights.sum()
    if total == 0:
        return (0.5, 0.5)
    height, width = weights.shape
    x = (weights.sum(axis=0) * (np.arange(width) + 0.5)).sum() / total / width
    y = (weights.sum(axis=1) * (np.arange(height) + 0.5)).sum() / total / height
    return (float(x), float(y))


def spread(context: TermContext) -> float:
    """Entropy of the map over the pixels: 0 for a single pixel, 1 for an even map."""
    values = context.heat_map.values.astype(np.float64).ravel()
    total = values.sum()
    if total == 0 or values.size < 2:
        return 0.0
    shares = values[values > 0] / total
    return float(abs((shares * np.log(shares)).sum()) / np.log(values.size))


def overlap(context: TermContext) -> dict[str, float]:
    """For each other term the IoU of both masks, 0..1."""
    return dict(context.overlaps)


def mask_overlaps(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU [term, term] of masks [term, height, width]; 0 where both are empty."""
    flat = masks.reshape(len(masks), -1)
    common = np.zeros((len(flat), len(flat)))
    for start in range(0, flat.shape[1], _PIXELS_AT_ONCE):
        some = flat[:, start : start + _PIXELS_AT_ONCE].astype(np.float32)
        common += some @ some.T  # whole numbers far below 2 ** 24, so float32 is exact
    sizes = np.diagonal(common)
    union = sizes[:, None] + sizes[None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def strengths(heat_maps: HeatMaps, terms: Sequence[str]) -> dict[str, float]:
    """The strength alone of every term that has a map."""
    return {term: strength(TermContext(heat_maps[term], heat_maps, {})) for term in terms if term in heat_maps}


STATISTICS: dict[str, Callable[[TermContext], Any]] = {
    "strength": strength,
    "coverage": coverage,
    "peak": peak,
    "center_of_mass": center_of_mass,
    "spread": spread,
    "overlap": overlap,
}


def term_statistics(
    heat_maps: HeatMaps, terms: Sequence[str], *, names: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Every statistic of every term that has a map, by term and name; with `names` only these.

    >>> found = daam.term_statistics(heat_maps, ["circle", "square", "unicorn"])
    >>> list(found), list(found["circle"])
    (['circle', 'square'], ['strength', 'coverage', 'peak', 'center_of_mass', 'spread', 'overlap'])
    >>> 0 < found["circle"]["strength"] < 1
    True
    """
    heat_maps.prepare(terms)
    maps = {term: heat_maps[term] for term in terms if term in heat_maps}
    if not maps:
        return {}
    overlaps = mask_overlaps(np.stack([heat_map.mask() for heat_map in maps.values()])).tolist()
    found = {}
    for (term, heat_map), row in zip(maps.items(), overlaps):
        others = {name: value for name, value in zip(maps, row) if name != term}
        context = TermContext(heat_map, heat_maps, others)
        found[term] = {name: STATISTICS[name](context) for name in names or STATISTICS}
    return found


def rank_words(heat_maps: HeatMaps, box: tuple[int, int, int, int]) -> dict[str, float]:
    """Each word's share (0..1) of the attention that all words get in a region, strongest first.

    >>> shares = daam.rank_words(heat_maps, (0, 0, 64, 64))
    >>> sorted(shares) == sorted(heat_maps), round(sum(shares.values()), 6)
    (True, 1.0)
    >>> list(shares.values()) == sorted(shares.values(), reverse=True)
    True

    It measures attention, by the plain reading; whether a word changes what is there, only leaving it out shows.

    Args:
        box: (left, top, right, bottom) in pixels of the picture, right and bottom exclusive.

    Raises:
        SettingError: the box is empty or not inside the picture.
    """
    left, top, right, bottom = box
    height, width = heat_maps.picture_size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(f"box: expected left < right <= {width} and top < bottom <= {height}, got {box}")
    shares = shares_in_box([heat_map.values for heat_map in heat_maps.plain.values()], box)
    return dict(sorted(zip(heat_maps, shares), key=lambda pair: -pair[1]))


def shares_in_box(maps: Sequence[NDArray[np.float32]], box: tuple[int, int, int, int]) -> list[float]:
    """Of maps [height, width]: each one's share of the sum of all within a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    sums = [float(values[top:bottom, left:right].sum(dtype=np.float64)) for values in maps]
    total = sum(sums)
    return [value / total if total else 0.0 for value in sums]


WHERE = (("top", "middle", "bottom"), ("left", "center", "right"))


def where(center: tuple[float, float]) -> str:
    """A place in words: "top left", "middle", "right"."""
    x, y = center
    row, column = (WHERE[0][min(2, int(y * 3))], WHERE[1][min(2, int(x * 3))])
    if row == "middle":
        return "middle" if column == "center" else column
    return row if column == "center" else f"{row} {column}"
