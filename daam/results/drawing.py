"""Draws one generation's heat maps as settings say: an overlay for each term, and a grid of them. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from PIL import Image

from daam.maps.heat_maps import HeatMaps
from daam.pictures.captions import STRIP_COLOUR, add_caption
from daam.pictures.grid import make_grid
from daam.pictures.overlay import scale_picture
from daam.pictures.tile import term_tile
from daam.prompt.terms import parse_terms
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import Side

LEGIBLE_WIDTH = 384
"""Smaller pictures are enlarged by a whole factor up to this width, unless a scale is given."""
MOST_GREY = 8
"""Tiles of terms without a map that a picture has; the last one stands for all that are left."""


@dataclass(frozen=True)
class DrawnTerm:
    """A term of one picture: its overlay, or the reason why it has none.

    Attributes:
        term: as it is looked up in `HeatMaps`, in quotes where needed.
        name: the same without quotes, as people read it.
        tile: None for a term without a map behind the first `MOST_GREY`.
    """

    image: int
    side: Side
    term: str
    name: str
    tile: Image.Image | None
    reason: str | None


@dataclass(frozen=True)
class Drawing:
    """What was drawn: a tile for each term and picture, and all of them in one grid."""

    terms: list[DrawnTerm]
    grid: Image.Image


def draw(result: Result) -> Drawing:
    """Draws the heat maps of all pictures of a generation."""
    settings = result.drawing
    terms: list[DrawnTerm] = []
    rows: list[list[Image.Image]] = []
    for image, (picture, trace) in enumerate(result.pairs):
        picture = enlarge(picture, settings)
        drawn = [each for maps in _sides(trace, settings) for each in draw_terms(picture, maps, settings, image)]
        terms += drawn
        if settings.per_layer:
            rows += _layer_tiles(picture, trace, settings)
        else:
            label = _picture_label(image, len(result.pictures))
            rows.append([_captioned(picture, label, settings), *tiles_of(drawn)])
    tiles = [tile for row in rows for tile in row]
    layout = "batch-rows" if settings.per_layer else settings.layout
    background = settings.background or STRIP_COLOUR
    return Drawing(terms, make_grid(tiles, layout=layout, batch_size=len(rows), background=background))


def draw_terms(picture: Image.Image, maps: HeatMaps, settings: DrawingSettings, image: int = 0) -> list[DrawnTerm]:
    """A tile for each term of one picture, all on one scale; of many terms without a map the first have one."""
    terms = chosen_terms(maps, settings)
    reasons = {term: maps.explain(term) for term in terms}
    found = [term for term in terms if reasons[term] is None]
    scaled = dict(zip(found, maps.scaled(found, settings.scale))) if found else {}
    missing = [term for term in terms if reasons[term] is not None]
    last = missing[MOST_GREY - 1] if len(missing) > MOST_GREY else None
    without_tile = set(missing[MOST_GREY:])
    drawn = []
    for term in terms:
        name = parse_terms(term)[0].text
        caption, reason = name if maps.side == "positive" else f"{maps.side}: {name}", reasons[term]
        if term == last:
            caption, reason = f"{len(missing) - MOST_GREY + 1} more", "terms without a map"
        tile = None
        if term not in without_tile:
            tile = term_tile(
                picture,
                scaled.get(term),
                caption,
                opacity=settings.opacity,
                colormap=settings.colormap,
                show_caption=settings.show_captions,
                reason=reason,
            )
        drawn.append(DrawnTerm(image, maps.side, term, name, tile, reasons[term]))
    return drawn


def tiles_of(drawn: Sequence[DrawnTerm]) -> list[Image.Image]:
    """The tiles, where there are some."""
    return [each.tile for each in drawn if each.tile is not None]


def chosen_terms(maps: HeatMaps, settings: DrawingSettings) -> list[str]:
    """The terms of the settings as they are looked up; every word where there are none. A probe says its own."""
    if maps.side == "probe":
        return [term.quoted for term in parse_terms(maps.table.prompt)]
    if maps.side == "negative":
        return list(maps.words)
    return [term.quoted for term in parse_terms(settings.terms)] or list(maps.words)


def shown_sides(trace: ImageTrace, settings: DrawingSettings) -> list[Side]:
    """The prompts of one picture whose words are shown."""
    wanted = {"positive": True, "negative": settings.with_negative, "probe": True}
    return [side for side in get_args(Side) if wanted[side] and trace.table(side) is not None]


def _sides(trace: ImageTrace, settings: DrawingSettings) -> list[HeatMaps]:
    return [_selected(HeatMaps(trace, side=side), settings) for side in shown_sides(trace, settings)]


def _selected(maps: HeatMaps, settings: DrawingSettings) -> HeatMaps:
    patterns = [pattern.strip() for pattern in settings.layers.split(",") if pattern.strip()]
    return maps.select(layers=patterns) if patterns and maps.layers else maps


def _layer_tiles(picture: Image.Image, trace: ImageTrace, settings: DrawingSettings) -> list[list[Image.Image]]:
    """A row for all layers together and one for each layer, which begins with the layer's name; or columns of these."""
    maps = _selected(HeatMaps(trace), settings)
    named = {"all layers": maps}
    for layer, (height, width) in maps.layers.items():
        named[f"{short_layer_name(layer)} ({height}×{width})"] = maps.select(layers=layer)
    rows = [
        [_captioned(picture, name, settings), *tiles_of(draw_terms(picture, chosen, settings))]
        for name, chosen in named.items()
    ]
    return rows if settings.layers_as_rows else [list(column) for column in zip(*rows)]


def short_layer_name(name: str) -> str:
    """ "up_blocks.1.attentions.0.transformer_blocks.2.attn2" as "up 1.0.2"; names of other models as they are."""
    parts = name.split(".")
    numbers = ".".join(part for part in parts if part.isdigit())
    kind = parts[0].split("_")[0]
    return f"{kind} {numbers}" if parts[0].endswith(("blocks", "block")) else name


def _picture_label(image: int, count: int) -> str:
    return "picture" if count == 1 else f"picture {image + 1}"


def _captioned(picture: Image.Image, label: str, settings: DrawingSettings) -> Image.Image:
    return add_caption(picture, label) if settings.show_captions else picture


def enlarge(picture: Image.Image, settings: DrawingSettings) -> Image.Image:
    """The picture at the size that its tiles have."""
    factor = settings.image_scale
    if factor is None:
        factor = max(1, -(-LEGIBLE_WIDTH // picture.width))
    return picture if factor == 1 else scale_picture(picture, factor)
