"""Draws one generation's heat maps as settings say: an overlay for each term, and a grid of them. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from PIL import Image

from daam.maps import statistics
from daam.maps.heat_maps import HeatMaps
from daam.pictures.captions import STRIP_COLOUR, add_caption
from daam.pictures.colour_bar import add_colour_bar
from daam.pictures.grid import Colour, make_grid
from daam.pictures.labelled_grid import Cell, LabelledRow, labelled_grid
from daam.pictures.overlay import scale_picture
from daam.pictures.quick_png import QuickPng
from daam.pictures.tile import term_tile
from daam.prompt.content import names_something
from daam.prompt.terms import parse_terms
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import Side

LEGIBLE_WIDTH = 384
"""Smaller pictures are enlarged by a whole factor up to this width, unless a scale is given."""
MOST_IN_A_ROW = 6
"""Tiles of a picture that stand in one row of a batch's grid; more are a block."""
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
    layers: list[LabelledRow] = []
    for image, (picture, trace) in enumerate(result.pairs):
        picture = enlarge(picture, settings)
        drawn = [each for maps in _sides(trace, settings) for each in draw_terms(picture, maps, settings, image)]
        terms += drawn
        label = _picture_label(image, len(result.pictures))
        if settings.per_layer:
            heads, found = _layer_rows(picture, trace, settings, label)
            layers += found
        else:
            rows.append([_first_tile(picture, label, _notes(trace, settings), settings), *tiles_of(drawn)])
    background = settings.background or STRIP_COLOUR
    if settings.per_layer:
        grid = labelled_grid(heads, layers, background=background)
    else:
        grid = _grid(rows, settings, background)
    if settings.show_captions:
        grid = add_colour_bar(grid, settings.colormap, min(LEGIBLE_WIDTH, picture.width), background)
    return Drawing(terms, QuickPng.of(grid))


def _grid(rows: Sequence[list[Image.Image]], settings: DrawingSettings, background: Colour) -> Image.Image:
    """All tiles; of a batch a block for each picture, since its row might be a strip that nobody can read."""
    if settings.layout != "batch-rows" or max(map(len, rows)) <= MOST_IN_A_ROW:
        tiles = [tile for row in rows for tile in row]
        return make_grid(tiles, layout=settings.layout, batch_size=len(rows), background=background)
    blocks = [make_grid(row, layout="auto", background=background) for row in rows]
    return make_grid(blocks, layout="batch-rows", batch_size=len(blocks), background=background)


def draw_terms(picture: Image.Image, maps: HeatMaps, settings: DrawingSettings, image: int = 0) -> list[DrawnTerm]:
    """A tile for each term of one picture, all on one scale; of many terms without a map the first have one."""
    terms = chosen_terms(maps, settings)
    reasons = {term: maps.explain(term) for term in terms}
    found = [term for term in terms if reasons[term] is None]
    scaled = dict(zip(found, maps.scaled(found, settings.scale))) if found else {}
    strengths = statistics.strengths(maps, found)
    missing = [term for term in terms if reasons[term] is not None]
    last = missing[MOST_GREY - 1] if len(missing) > MOST_GREY else None
    without_tile = set(missing[MOST_GREY:])
    drawn = []
    for term in terms:
        name = parse_terms(term)[0].text
        caption, reason = caption_of(maps, term, strengths.get(term)), reasons[term]
        if term == last:
            caption, reason = f"{len(missing) - MOST_GREY + 1} more", "terms without a map"
        tile = None
        if term not in without_tile:
            tile = QuickPng.of(
                term_tile(
                    picture,
                    scaled.get(term),
                    caption,
                    opacity=settings.opacity,
                    colormap=settings.colormap,
                    blend=settings.blend,
                    show_caption=settings.show_captions,
                    reason=reason,
                )
            )
        drawn.append(DrawnTerm(image, maps.side, term, name, tile, reasons[term]))
    return drawn


def caption_of(maps: HeatMaps, term: str, strength: float | None) -> str:
    """ "circle 16 %"; "a (3×) 18 %" where one map is of several places; the side of words that are not the prompt's."""
    name = parse_terms(term)[0].text
    side = "" if maps.side == "positive" else f"{maps.side}: "
    if strength is None:
        return f"{side}{name}"
    places = len({place.span for place in maps[term].places})
    times = f" ({places}×)" if places > 1 else ""
    return f"{side}{name}{times} {100 * strength:.{0 if strength >= 0.0995 else 1}f} %"


def tiles_of(drawn: Sequence[DrawnTerm]) -> list[Image.Image]:
    """The tiles, where there are some."""
    return [each.tile for each in drawn if each.tile is not None]


def chosen_terms(maps: HeatMaps, settings: DrawingSettings) -> list[str]:
    """The terms of the settings as they are looked up; every word where there are none. A probe says its own."""
    if maps.side == "probe":
        return [term.quoted for term in parse_terms(maps.table.prompt)]
    own = [] if maps.side == "negative" else [term.quoted for term in parse_terms(settings.terms)]
    if own:
        return own
    left_out = set(_left_out(maps, settings))
    return [word for word in maps.words if word not in left_out]


def _left_out(maps: HeatMaps, settings: DrawingSettings) -> list[str]:
    """Words that name nothing, unless the prompt has no others."""
    words = list(maps.words) if settings.skip_function_words else []
    nothing = [word for word in words if not names_something(word)]
    return nothing if len(nothing) < len(words) else []


def left_out_of(trace: ImageTrace, settings: DrawingSettings) -> list[str]:
    """The words of the prompt that have no tile because they name nothing."""
    return [] if parse_terms(settings.terms) else _left_out(HeatMaps(trace), settings)


def shown_sides(trace: ImageTrace, settings: DrawingSettings) -> list[Side]:
    """The prompts of one picture whose words are shown."""
    wanted = {"positive": True, "negative": settings.with_negative, "probe": True}
    return [side for side in get_args(Side) if wanted[side] and trace.table(side) is not None]


def _sides(trace: ImageTrace, settings: DrawingSettings) -> list[HeatMaps]:
    return [_selected(HeatMaps(trace, side=side), settings) for side in shown_sides(trace, settings)]


def _selected(maps: HeatMaps, settings: DrawingSettings) -> HeatMaps:
    patterns, read = settings.layer_patterns, settings.read(maps)
    return read.select(layers=patterns) if patterns and maps.layers else read


def _layer_rows(
    picture: Image.Image, trace: ImageTrace, settings: DrawingSettings, label: str
) -> tuple[list[str], list[LabelledRow]]:
    """Heads and rows of a table of terms and layers: the picture once, and once why a term has no map."""
    maps = _selected(HeatMaps(trace), settings)
    named = {"all layers": maps}
    of_parts = maps if maps.reading.takes_parts else maps.plain
    for layer, (height, width) in of_parts.layers.items():
        named[f"{short_layer_name(layer)} ({height}×{width})"] = of_parts.select(layers=layer)
    terms = chosen_terms(maps, settings)
    strengths = statistics.strengths(maps, terms)
    captions = [caption_of(maps, term, strengths.get(term)) for term in terms]
    cells: list[list[Cell]] = []
    for number, chosen in enumerate(named.values()):
        drawn = draw_terms(picture, chosen, replace(settings, show_captions=False))
        found: dict[str, Cell] = {each.term: each.tile for each in drawn if each.tile and each.reason is None}
        reasons = {each.term: each.reason or "" for each in drawn} if number == 0 else {}
        cells.append([picture if number == 0 else "", *(found.get(term) or reasons.get(term, "") for term in terms)])
    if settings.layers_as_rows:
        return [label, *captions], [LabelledRow(name, row) for name, row in zip(named, cells)]
    return list(named), [LabelledRow(name, row) for name, row in zip([label, *captions], map(list, zip(*cells)))]


def short_layer_name(name: str) -> str:
    """ "up_blocks.1.attentions.0.transformer_blocks.2.attn2" as "up 1.0.2"; names of other models as they are."""
    parts = name.split(".")
    numbers = ".".join(part for part in parts if part.isdigit())
    kind = parts[0].split("_")[0]
    return f"{kind} {numbers}" if parts[0].endswith(("blocks", "block")) else name


def _picture_label(image: int, count: int) -> str:
    return "picture" if count == 1 else f"picture {image + 1}"


def _first_tile(picture: Image.Image, label: str, notes: Sequence[str], settings: DrawingSettings) -> Image.Image:
    return add_caption(picture, label, note="; ".join(notes) or None) if settings.show_captions else picture


def _notes(trace: ImageTrace, settings: DrawingSettings) -> list[str]:
    """What stands under the picture: what the maps are, where they are not plain, and which words have no tile."""
    maps, left_out = settings.read(HeatMaps(trace)), left_out_of(trace, settings)
    notes = [] if maps is maps.plain else [f"{settings.reading}: {maps.reading.help}"]
    return notes + ([f"{len(left_out)} left out: {', '.join(left_out)}"] if left_out else [])


def enlarge(picture: Image.Image, settings: DrawingSettings) -> Image.Image:
    """The picture at the size that its tiles have."""
    factor = settings.image_scale
    if factor is None:
        factor = max(1, -(-LEGIBLE_WIDTH // picture.width))
    return picture if factor == 1 else scale_picture(picture, factor)
