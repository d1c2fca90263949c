"""Lays tiles out in rows and columns. Knows nothing of what the tiles show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageColor

from daam.errors import SettingError, ShapeError
from daam.pictures.captions import STRIP_COLOUR
from daam.pictures.convert import to_rgb_image

Colour = str | tuple[int, int, int]
LONGEST_SIDE = 16_000
MOST_PIXELS = 200_000_000


def _auto(tile_count: int, batch_size: int) -> tuple[int, int]:
    """Nearly square, as the WebUI does by itself; the last row may have empty spots."""
    rows = round(math.sqrt(tile_count))
    return rows, math.ceil(tile_count / rows)


def _no_gaps(tile_count: int, batch_size: int) -> tuple[int, int]:
    """The squarest grid without an empty spot, at least as wide as high (the WebUI's "prevent empty spots").

    A prime number of tiles is one row, however long: nothing else has no empty spot. `make_grid` scales it down.
    """
    rows = math.isqrt(tile_count)
    while tile_count % rows:
        rows -= 1
    return rows, tile_count // rows


def _batch_rows(tile_count: int, batch_size: int) -> tuple[int, int]:
    """One row for each picture of the batch, if the tiles come picture by picture; empty spots if they are uneven."""
    rows = min(batch_size, tile_count)
    return rows, math.ceil(tile_count / rows)


LAYOUTS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "auto": _auto,
    "no-gaps": _no_gaps,
    "batch-rows": _batch_rows,
}
"""(tile count, batch size), both 1 or more -> (rows, columns)."""


def make_grid(
    tiles: Sequence[Image.Image],
    *,
    layout: str = "auto",
    batch_size: int = 1,
    background: Colour = STRIP_COLOUR,
    gap: int | None = None,
) -> Image.Image:
    """All tiles in one picture, row by row from the top left.

    Columns are as wide as the widest tile, and each row as high as its highest; a smaller tile is at the top,
    in the middle of its column. A grid of more than 16,000 pixels a side or 200 megapixels is scaled down to that.

    Args:
        tiles: of any mode and size, at least one.
        layout: a name in `LAYOUTS`.
        batch_size: number of pictures in the batch; only "batch-rows" asks for it.
        background: colour name or (red, green, blue). The default is that of the caption strips.
        gap: pixels between tiles; None is 1 % of a tile's width.

    Returns:
        An RGB image.

    Raises:
        ShapeError: no tiles.
        SettingError: no such layout or colour, batch size below 1, gap below 0.
    """
    rows, columns = _rows_and_columns(len(tiles), layout, batch_size)
    colour = _colour(background)
    pictures = [to_rgb_image(tile) for tile in tiles]
    if gap is None:
        gap = max(2, round(max(picture.width for picture in pictures) * 0.01))
    if gap < 0:
        raise SettingError(f"expected a gap of 0 or more pixels, got {gap}")
    factor = _factor(*_grid_size(pictures, rows, columns, gap))
    if factor < 1:
        pictures, gap = [_shrunk(picture, factor) for picture in pictures], int(gap * factor)
    return _paste(pictures, rows, columns, gap, colour)


def _rows_and_columns(tile_count: int, layout: str, batch_size: int) -> tuple[int, int]:
    if not tile_count:
        raise ShapeError("expected at least one tile for a grid, got none")
    if layout not in LAYOUTS:
        raise SettingError(f"expected a layout of {', '.join(LAYOUTS)}, got {layout!r}")
    if batch_size < 1:
        raise SettingError(f"expected a batch size of 1 or more, got {batch_size}")
    return LAYOUTS[layout](tile_count, batch_size)


def _colour(background: Colour) -> tuple[int, int, int]:
    try:
        red, green, blue = ImageColor.getrgb(background)[:3] if isinstance(background, str) else background
    except ValueError as error:
        raise SettingError(f"expected a colour such as 'white' or (24, 24, 27), got {background!r}") from error
    return red, green, blue


def _row_heights(pictures: Sequence[Image.Image], columns: int) -> list[int]:
    starts = range(0, len(pictures), columns)
    return [max(picture.height for picture in pictures[start : start + columns]) for start in starts]


def _grid_size(pictures: Sequence[Image.Image], rows: int, columns: int, gap: int) -> tuple[int, int]:
    """(height, width)"""
    height = sum(_row_heights(pictures, columns)) + gap * (rows - 1)
    return height, max(picture.width for picture in pictures) * columns + gap * (columns - 1)


def _factor(height: int, width: int) -> float:
    return min(1.0, LONGEST_SIDE / max(height, width), math.sqrt(MOST_PIXELS / (height * width)))


def _shrunk(picture: Image.Image, factor: float) -> Image.Image:
    """Rounded down, so that the sum stays within the limits."""
    size = max(1, int(picture.width * factor)), max(1, int(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _paste(
    pictures: Sequence[Image.Image], rows: int, columns: int, gap: int, colour: tuple[int, int, int]
) -> Image.Image:
    height, width = _grid_size(pictures, rows, columns, gap)
    cell_width = max(picture.width for picture in pictures)
    grid = Image.new("RGB", (width, height), colour)
    top = 0
    for row, row_height in enumerate(_row_heights(pictures, columns)):
        for column, picture in enumerate(pictures[row * columns : (row + 1) * columns]):
            grid.paste(picture, (column * (cell_width + gap) + (cell_width - picture.width) // 2, top))
        top += row_height + gap
    return grid
