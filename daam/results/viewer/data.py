"""What the viewer needs of one picture, as plain data: chips in prompt order, and one atlas of 8-bit maps.

Each word has one tile for each resolution of the model, at that resolution; the browser adds them up, upscales them and
colours them, so that everything about how the maps look can be changed without the model.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from daam.maps.heat_maps import HeatMaps
from daam.maps.observations import observe
from daam.maps.selection import Size
from daam.maps.statistics import term_statistics
from daam.pictures.colormaps import lookup_table
from daam.prompt.table import PromptTable, ScheduleEntry, Span
from daam.prompt.terms import Term, Word, entry_words, find_term, parse_terms
from daam.results.drawing_settings import DrawingSettings
from daam.rewriting import EditFrames, edit_frames
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import Side

VERSION = 1
COLORMAPS = ("turbo", "viridis", "inferno", "magma", "plasma", "jet", "gray")
"""Offered beside the one of the settings."""
PICTURE_QUALITY = 92
STEP_SIDE = 32
"""Longest side of the maps of single steps, which are many; where each step was kept."""


@dataclass
class _Atlas:
    """Tiles of several sizes in one grey picture; each size is a block of its own."""

    tiles: dict[Size, list[NDArray[np.uint8]]]

    def add(self, values: NDArray[np.float32]) -> dict[str, Any]:
        """Keeps a map; says where it will be found, and the value that 255 stands for."""
        highest = float(values.max(initial=0.0))
        scaled = np.clip(values / highest, 0, 1) if highest > 0 else np.zeros_like(values)
        height, width = values.shape
        kept = self.tiles.setdefault((height, width), [])
        kept.append(np.round(scaled * 255).astype(np.uint8))
        return {"height": height, "width": width, "number": len(kept) - 1, "max": highest}

    def picture(self) -> tuple[Image.Image, dict[str, dict[str, int]]]:
        """The atlas, and where each size's block begins: "64x48" to top and columns."""
        blocks, rows, top = {}, [], 0
        for (height, width), tiles in self.tiles.items():
            columns = math.ceil(math.sqrt(len(tiles)))
            block = np.zeros((math.ceil(len(tiles) / columns) * height, columns * width), np.uint8)
            for number, tile in enumerate(tiles):
                row, column = divmod(number, columns)
                block[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
            blocks[f"{height}x{width}"] = {"top": top, "columns": columns}
            rows.append(block)
            top += len(block)
        atlas = np.zeros((max(top, 1), max((block.shape[1] for block in rows), default=1)), np.uint8)
        for block, place in zip(rows, blocks.values()):
            atlas[place["top"] : place["top"] + len(block), : block.shape[1]] = block
        return Image.fromarray(atlas), blocks


def viewer_data(picture: Image.Image, trace: ImageTrace, settings: DrawingSettings) -> dict[str, Any]:
    """Everything that the viewer shows of one picture; JSON with two data URLs, the picture's and the atlas's."""
    atlas = _Atlas({})
    prompts = []
    for side in get_args(Side):
        table = trace.table(side)
        if table is not None:
            prompts.append(_prompt(HeatMaps(trace, side=side), table, side, atlas))
    grey, blocks = atlas.picture()
    names = dict.fromkeys((settings.colormap, *COLORMAPS))
    return {
        "version": VERSION,
        "height": picture.height,
        "width": picture.width,
        "region": trace.region,
        "picture": _data_url(picture.convert("RGB"), "JPEG"),
        "atlas": {"image": _data_url(grey, "PNG"), "blocks": blocks},
        "prompts": prompts,
        "steps": trace.calls if "steps" in trace.keep else 0,
        "pinned": [_spans(term, trace.positive) for term in parse_terms(settings.terms)],
        "observations": _remarks(trace) + (observe(HeatMaps(trace)) if trace.texts else []),
        "colormaps": {name: base64.b64encode(lookup_table(name).tobytes()).decode() for name in names},
        "settings": {"opacity": settings.opacity, "colormap": settings.colormap, "scale": settings.scale},
    }


def _remarks(trace: ImageTrace) -> list[dict[str, Any]]:
    """What to know of the maps, in the form of observations about no word."""
    return [{"kind": "remark", "text": remark, "terms": []} for remark in trace.remarks]


def _data_url(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=PICTURE_QUALITY, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _prompt(maps: HeatMaps, table: PromptTable, side: Side, atlas: _Atlas) -> dict[str, Any]:
    chips = [chip for part in range(len(table.parts)) for chip in _chips(maps, table, part, atlas)]
    chips += [
        {"text": tag.text, "span": tag.span, "part": 0, "kind": "tag", "reason": "an extra-network tag", "tiles": []}
        for tag in table.tags
    ]
    chips.sort(key=lambda chip: (chip["part"], chip["span"][0]))
    return {
        "side": side,
        "prompt": table.prompt,
        "parts": [part.weight for part in table.parts],
        "chips": chips,
        "frames": None if side == "probe" else prompt_frames(table, negative=side == "negative").to_data(),
    }


def prompt_frames(table: PromptTable, *, negative: bool = False) -> EditFrames:
    """How the words of a prompt can be edited, in the order of `word_spans`."""
    return _frames(table.prompt, word_spans(table), negative)


def word_spans(table: PromptTable) -> tuple[Span, ...]:
    """Where the words of a prompt were typed, each once."""
    return tuple(sorted({word.span for part in table.parts for entry in part.schedule for word in entry_words(entry)}))


@lru_cache(maxsize=16)
def _frames(prompt: str, spans: tuple[Span, ...], negative: bool) -> EditFrames:
    """Kept, since the pictures of a batch often have one prompt."""
    return edit_frames(prompt, spans, negative=negative)


def _chips(maps: HeatMaps, table: PromptTable, number: int, atlas: _Atlas) -> list[dict[str, Any]]:
    """A chip for each typed word of one AND part, wherever its schedule has it."""
    part = table.parts[number]
    found: dict[tuple[int, int], tuple[Word, list[ScheduleEntry]]] = {}
    for entry in part.schedule:
        for word in entry_words(entry):
            found.setdefault(word.span, (word, []))[1].append(entry)
    chips = []
    for span, (word, entries) in sorted(found.items()):
        term = _occurrence(maps, table, word, span)
        reason = maps.explain(term)
        numbers = term_statistics(maps, [term]).get(term)
        is_always = len(entries) == len(part.schedule)
        column = entries[0].columns[word.columns[0]]
        chips.append(
            {
                "text": table.prompt[span[0] : span[1]] or word.text,
                "span": span,
                "term": term,
                "part": number,
                "kind": "word",
                "weight": round(column.weight, 3),
                "chunk": column.chunk,
                "steps": None if is_always else [[entry.first_step, entry.end_at_step] for entry in entries],
                "strength": numbers["strength"] if numbers else None,
                "coverage": numbers["coverage"] if numbers else None,
                "reason": reason,
                "tiles": [] if reason else [atlas.add(tile.numpy()) for tile in maps.by_size(term).values()],
                "step_tiles": [] if reason else [atlas.add(tile) for tile in _step_maps(maps, term)],
            }
        )
    return chips


def _spans(term: Term, table: PromptTable) -> list[Span]:
    """Where a term stands in the prompt."""
    return list(dict.fromkeys(place.span for place in find_term(term, table)))


def _step_maps(maps: HeatMaps, term: str) -> list[NDArray[np.float32]]:
    """A small map of each model call; none where the term's steps were not kept."""
    has_steps = any(text.steps for key, text in maps.trace.texts.items() if key.side == maps.side)
    if not has_steps or term not in maps.select(steps=(0, maps.trace.calls - 1)):
        return []
    height, width = max(maps.layers.values())
    factor = min(1.0, STEP_SIDE / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    found = []
    for call in range(maps.trace.calls):
        total = torch.zeros(size)
        for tile in maps.select(steps=(call, call)).by_size(term).values():
            total += functional.interpolate(tile[None, None], size, mode="bicubic", antialias=True)[0, 0]
        found.append(total.clamp_(min=0).numpy())
    return found


def _occurrence(maps: HeatMaps, table: PromptTable, word: Word, span: tuple[int, int]) -> str:
    """The term for this very place: "cat#2" where the word stands more than once."""
    starts: Sequence[int] = sorted(
        {
            other.span[0]
            for part in table.parts
            for entry in part.schedule
            for other in entry_words(entry)
            if other.parts == word.parts
        }
    )
    text = " ".join("".join(word.parts).split()) or word.text
    plain = Term(text, word.parts)
    if len(starts) < 2:
        return plain.quoted
    number = starts.index(span[0]) + 1
    return Term(f"{text}#{number}", word.parts, number).quoted
