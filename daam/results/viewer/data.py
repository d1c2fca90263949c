"""What the viewer needs of one picture, as plain data: chips in prompt order, and one atlas of 8-bit maps.

Each word has one tile for each resolution of the model, at that resolution; the browser adds them up, upscales them and
colours them, so that everything about how the maps look can be changed without the model.
"""

from __future__ import annotations

import base64
import io
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from daam.maps.heat_maps import HeatMaps
from daam.maps.observations import most_telling, observe
from daam.maps.readings import READINGS
from daam.maps.selection import Size
from daam.maps.statistics import TermContext, coverage, strength
from daam.pictures.colormaps import lookup_table
from daam.prompt.table import PromptTable, Span
from daam.prompt.terms import Place, Term, word_name
from daam.prompt.typed_words import Word, table_words
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.results.viewer.relations import add_relations
from daam.rewriting import EditFrames, edit_frames
from daam.tracing.image_trace import ImageTrace, Region
from daam.tracing.plan import Side

VERSION = 1
COLORMAPS = ("turbo", "viridis", "inferno", "magma", "plasma", "jet", "gray")
"""Offered beside the one of the settings."""
PICTURE_QUALITY = 92
MEASURED_SIDE = 64
"""Longest side of the maps that coverage and observations are measured on: that of the model's own largest ones."""
MOST_SAID = 3
"""Sentences under a picture."""
STEP_SIDE = 32
"""Longest side of the maps of single steps, which are many; where each step was kept."""


@dataclass
class _Atlas:
    """Tiles of several sizes in one grey picture; each size is a block of its own."""

    tiles: dict[Size, list[NDArray[np.uint8]]]

    def add(self, maps: Sequence[NDArray[np.float32]]) -> list[dict[str, Any]]:
        """Keeps maps of one size; says where each will be found, and the value that 255 stands for."""
        if not maps:
            return []
        values = np.stack(maps)
        _, height, width = values.shape
        kept = self.tiles.setdefault((height, width), [])
        first, highest = len(kept), np.maximum(values.max(axis=(1, 2)), 0)
        values *= (255 / np.where(highest > 0, highest, 1))[:, None, None]
        kept += list(np.rint(values, out=values).clip(0, 255, out=values).astype(np.uint8))
        return [
            {"height": height, "width": width, "number": number, "max": most}
            for number, most in enumerate(highest.tolist(), first)
        ]

    def picture(self) -> tuple[NDArray[np.uint8], dict[str, dict[str, int]]]:
        """The atlas [height, width], and where each size's block begins: "64x48" to top and columns."""
        blocks, rows, top = {}, [], 0
        for (height, width), tiles in self.tiles.items():
            columns = math.ceil(math.sqrt(len(tiles)))
            lines = math.ceil(len(tiles) / columns)
            block = np.zeros((lines * columns, height, width), np.uint8)
            np.stack(tiles, out=block[: len(tiles)])
            block = block.reshape(lines, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)
            blocks[f"{height}x{width}"] = {"top": top, "columns": columns}
            rows.append(block)
            top += len(block)
        atlas = np.zeros((max(top, 1), max((block.shape[1] for block in rows), default=1)), np.uint8)
        for block, place in zip(rows, blocks.values()):
            atlas[place["top"] : place["top"] + len(block), : block.shape[1]] = block
        return atlas, blocks


def viewer_data(picture: Image.Image, trace: ImageTrace, settings: DrawingSettings) -> dict[str, Any]:
    """Everything that the viewer shows of one picture; JSON with two data URLs, the picture's and the atlas's."""
    atlas = _Atlas({})
    measured = _measured(trace)
    maps = {side: HeatMaps(measured, side=side) for side in get_args(Side) if trace.table(side) is not None}
    readings = _readings(trace, settings)
    prompts = [_prompt(each, side, atlas, readings) for side, each in maps.items()]
    grey, blocks = atlas.picture()
    names = dict.fromkeys((settings.colormap, *COLORMAPS))
    return {
        "version": VERSION,
        "height": picture.height,
        "width": picture.width,
        "region": trace.region,
        "picture": _jpeg(picture),
        "atlas": {"image": _png(grey), "blocks": blocks},
        "prompts": prompts,
        "steps": trace.calls if "steps" in trace.keep else 0,
        "readings": [
            {"name": name, **{key: getattr(READINGS[name], key) for key in ("help", "note", "threshold")}}
            for name in readings
        ],
        "observations": _remarks(trace) + (most_telling(observe(maps["positive"]), MOST_SAID) if trace.texts else []),
        "colormaps": {name: base64.b64encode(lookup_table(name).tobytes()).decode() for name in names},
        "settings": {
            "opacity": settings.opacity,
            "colormap": settings.colormap,
            "scale": settings.scale,
            "blend": settings.blend,
            "reading": settings.reading if settings.reading in readings else readings[0],
        },
    }


def viewer_of(result: Result, image: int) -> dict[str, Any]:
    """`viewer_data` of one picture of a result, made when first asked for and kept with it."""
    made: dict[int, dict[str, Any]] = result.__dict__.setdefault("_viewers", {})
    if image not in made:
        made[image] = viewer_data(result.pictures[image], result.traces[image], result.drawing)
        add_relations(made[image], result.traces[image].positive)
    return made[image]


def _readings(trace: ImageTrace, settings: DrawingSettings) -> list[str]:
    """The readings that the viewer can switch between: plain, what was kept for it, and the one that was chosen."""
    return [
        name
        for name, reading in READINGS.items()
        if reading.needs in (None, *trace.keep) and (name in ("plain", settings.reading) or reading.needs is not None)
    ]


def _measured(trace: ImageTrace) -> ImageTrace:
    """The trace of a small picture: numbers need no more pixels than the model's own maps have."""
    factor = MEASURED_SIDE / max(trace.picture_size)
    if factor >= 1:
        return trace
    height, width = (max(1, round(side * factor)) for side in trace.picture_size)
    left, top, right, bottom = _corners(trace.region) if trace.region else (0, 0, 0, 0)
    small = [round(side * factor) for side in (left, top, right, bottom)]
    region = (small[0], small[1], max(1, small[2] - small[0]), max(1, small[3] - small[1])) if trace.region else None
    return replace(trace, picture_size=(height, width), region=region)


def _corners(region: Region) -> Region:
    left, top, width, height = region
    return left, top, left + width, top + height


def _remarks(trace: ImageTrace) -> list[dict[str, Any]]:
    """What to know of the maps, in the form of observations about no word."""
    return [{"kind": "remark", "text": remark, "terms": []} for remark in trace.remarks]


def _jpeg(image: Image.Image) -> str:
    """As a data URL."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=PICTURE_QUALITY)
    return _data_url("jpeg", buffer.getvalue())


def _png(grey: NDArray[np.uint8]) -> str:
    """[height, width] as a data URL; made by OpenCV, which is twice as quick as Pillow."""
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, encoded = cv2.imencode(".png", grey, quick)
    return _data_url("png", encoded.tobytes())


def _data_url(kind: str, encoded: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def _prompt(maps: HeatMaps, side: Side, atlas: _Atlas, readings: Sequence[str]) -> dict[str, Any]:
    table = maps.table
    read = {name: maps.select(reading=name) for name in readings if name != "plain"}
    chips = [chip for part in range(len(table.parts)) for chip in _chips(maps, read, table, part, atlas)]
    chips += [
        {"text": tag.text, "span": tag.span, "part": 0, "kind": "tag", "reason": "an extra-network tag", "tiles": []}
        for tag in table.tags
    ]
    chips.sort(key=lambda chip: (chip["part"], chip["span"][0]))
    return {
        "side": side,
        "prompt": table.prompt,
        "parts": [part.weight for part in table.parts],
        "part_labels": [] if side == "probe" else _part_labels(table),
        "chips": chips,
        "frames": None if side == "probe" else prompt_frames(table, negative=side == "negative").to_data(),
    }


def _part_labels(table: PromptTable) -> list[str]:
    """What tells the parts of a prompt apart, in words: "part 2 × 0.5", "hires pass"; nothing where there is one."""
    labels = []
    for part in table.parts:
        together = [other for other in table.parts if other.sampling_pass == part.sampling_pass]
        number = next(at for at, other in enumerate(together, 1) if other is part)
        names = [("first pass", "hires pass")[part.sampling_pass]] if _has_passes(table) else []
        names += [f"part {number} × {part.weight:g}"] if len(together) > 1 else []
        labels.append(", ".join(names))
    return labels


def _has_passes(table: PromptTable) -> bool:
    """Whether there are two, as with hires fix."""
    return len({part.sampling_pass for part in table.parts}) > 1


def prompt_frames(table: PromptTable, *, negative: bool = False) -> EditFrames:
    """How the words of a prompt can be edited, in the order of `word_spans`."""
    return _frames(table.prompt, word_spans(table), negative)


def word_spans(table: PromptTable) -> tuple[Span, ...]:
    """Where the words of a prompt were typed, each once."""
    texts = table_words(table).texts
    return tuple(sorted({word.span for _, entry in texts for word in entry.words if not word.is_sign}))


@lru_cache(maxsize=16)
def _frames(prompt: str, spans: tuple[Span, ...], negative: bool) -> EditFrames:
    """Kept, since the pictures of a batch often have one prompt."""
    return edit_frames(prompt, spans, negative=negative)


def _chips(
    maps: HeatMaps, read: Mapping[str, HeatMaps], table: PromptTable, number: int, atlas: _Atlas
) -> list[dict[str, Any]]:
    """A chip for each typed word of one AND part, wherever its schedule has it.

    Args:
        read: the maps in other readings, by the reading's name.
    """
    part, words = table.parts[number], table_words(table)
    found: dict[Span, tuple[Word, list[Place]]] = {}
    for entry in range(len(part.schedule)):
        for word in words.of(number, entry).words:
            if not word.is_sign:
                found.setdefault(word.span, (word, []))[1].append(Place(number, entry, word.columns, word.span))
    terms = {span: _occurrence(words.starts[word.parts], word) for span, (word, _) in found.items()}
    # The passes of hires fix have the same words: there a name is that of the word in this part alone. Elsewhere it is
    # the word's own, so that what is made here serves the observations too.
    alone = f" in part {number}" if _has_passes(table) else ""
    named = {span: f"{term.quoted}{alone}" for span, term in terms.items()}
    names, steps = list(named.values()), _StepMaps(maps)
    for span, name in named.items():
        for each in (maps, *read.values(), *steps.all):
            each.know(name, terms[span], found[span][1])
    maps.prepare(names)
    sizes = {name: maps.by_size(name) for name in names if name in maps}
    tiles = _tiles(sizes, names, atlas)
    others = {name: _tiles(_changed(each.by_sizes(names), sizes), names, atlas) for name, each in read.items()}
    chips = []
    for span, (word, places) in sorted(found.items(), key=lambda item: item[0]):
        name = named[span]
        reason = maps.explain(name)
        context = None if reason else TermContext(maps[name], maps, {})
        active = [part.schedule[place.entry] for place in places]
        column = active[0].columns[word.columns[0]]
        chips.append(
            {
                "text": table.prompt[span[0] : span[1]] or word.text,
                "span": span,
                "term": terms[span].quoted,
                "part": number,
                "kind": "word",
                "weight": round(column.weight, 3),
                "chunk": column.chunk,
                "steps": None
                if len(active) == len(part.schedule)
                else [[entry.first_step, entry.end_at_step] for entry in active],
                "strength": strength(context) if context else None,
                "coverage": coverage(context) if context else None,
                "reason": reason,
                "tiles": tiles[name],
                "readings": {reading: own[name] for reading, own in others.items() if own[name]},
                "step_tiles": [] if reason else atlas.add(steps.of(name)),
            }
        )
    return chips


_Sizes = Mapping[str, Mapping[Size, torch.Tensor]]
"""Term to its maps by their size."""


def _changed(read: _Sizes, plain: _Sizes) -> _Sizes:
    """Those terms that a reading changes, without what is empty in it."""
    return {
        name: {size: tile for size, tile in tiles.items() if tile.any()}
        for name, tiles in read.items()
        if any(size not in plain[name] or not torch.equal(tile, plain[name][size]) for size, tile in tiles.items())
    }


def _tiles(sizes: _Sizes, names: Sequence[str], atlas: _Atlas) -> dict[str, list[dict[str, Any]]]:
    """The tiles of each term, one for each resolution that it has; packed size by size, which is quicker."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for size in dict.fromkeys(size for by_size in sizes.values() for size in by_size):
        having = [name for name, by_size in sizes.items() if size in by_size]
        for name, tile in zip(having, atlas.add([sizes[name][size].numpy() for name in having])):
            found[name].append(tile)
    return found


class _StepMaps:
    """Small maps of each model call, for the terms whose steps were kept. Attributes: all: what they are made from."""

    def __init__(self, maps: HeatMaps) -> None:
        has_steps = any(text.steps for key, text in maps.trace.texts.items() if key.side == maps.side)
        calls = maps.trace.calls if has_steps else 0
        self._whole = maps.select(steps=(0, calls - 1)) if calls else None
        self._calls = [maps.select(steps=(call, call)) for call in range(calls)]
        self.all = [each for each in (self._whole, *self._calls) if each is not None]
        height, width = max(maps.layers.values(), default=(1, 1))
        factor = min(1.0, STEP_SIDE / max(height, width))
        self._size = max(1, round(height * factor)), max(1, round(width * factor))

    def of(self, term: str) -> list[NDArray[np.float32]]:
        if self._whole is None or term not in self._whole:
            return []
        found = []
        for call in self._calls:
            total = torch.zeros(self._size)
            for tile in call.by_size(term).values():
                total += functional.interpolate(tile[None, None], self._size, mode="bicubic", antialias=True)[0, 0]
            found.append(total.clamp_(min=0).numpy())
        return found


def _occurrence(starts: Sequence[int], word: Word) -> Term:
    """The term for this very place: "cat#2" where the word stands more than once, at `starts`."""
    text = word_name(word) or word.text
    if len(starts) < 2:
        return Term(text, word.parts)
    number = bisect_left(starts, word.span[0]) + 1
    return Term(f"{text}#{number}", word.parts, number)
