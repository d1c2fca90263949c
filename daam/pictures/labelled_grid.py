"""A table of pictures: heads over the columns, a label at the left of each row. Knows nothing of what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from daam.errors import ShapeError
from daam.pictures.captions import STRIP_COLOUR, _draw_line, _Line, _lines
from daam.pictures.contrast import note_colour, text_colour
from daam.pictures.convert import to_rgb_image
from daam.pictures.grid import Colour, _colour, _factor, _shrunk

_LABEL_PER_CELL = 0.7
_TEXT_PER_CELL = 0.06
_NOTE_PER_TEXT = 0.8
_SMALLEST_TEXT = 11
_LABEL_LINES = 5
_NOTE_LINES = 8
_HEAD_LINES = 2


Cell = Image.Image | str
"""A picture, or a few words about why there is none; "" leaves the cell empty."""


@dataclass(frozen=True)
class LabelledRow:
    """One row.

    Attributes:
        label: any text, at the left.
        cells: one for each column.
        note: more to say under the label, small and paler; each line of it begins a new line.
    """

    label: str
    cells: Sequence[Cell]
    note: str = ""

    @property
    def has_picture(self) -> bool:
        return any(isinstance(cell, Image.Image) for cell in self.cells)


def labelled_grid(
    heads: Sequence[str], rows: Sequence[LabelledRow], *, background: Colour = STRIP_COLOUR, gap: int | None = None
) -> Image.Image:
    """All rows in one picture, under the heads of their columns. A row without any picture is left out.

    Letters are 6 % of the widest cell's width (at least 11 pixels); long labels are wrapped and end in an ellipsis.
    A grid of more than 16,000 pixels a side or 200 megapixels is scaled down to that.

    Args:
        heads: a text for each column; all empty leaves the heads out.
        rows: each with as many cells as there are heads.
        background: colour name or (red, green, blue); text takes a colour that can be read on it.
        gap: pixels between cells; None is 2 % of a cell's width.

    Raises:
        ShapeError: no row has a picture, or one has more or fewer cells than there are heads.
        SettingError: no such colour.
    """
    for row in rows:
        if len(row.cells) != len(heads):
            raise ShapeError(f"row {row.label!r}: expected {len(heads)} cells, one for each head, got {len(row.cells)}")
    shown = [row for row in rows if row.has_picture]
    if not shown:
        raise ShapeError("expected a row with a picture, got none")
    return _within_limits(_Table(heads, shown, _colour(background), gap).draw())


class _Table:
    """The measures of one grid and its drawing."""

    def __init__(
        self, heads: Sequence[str], rows: Sequence[LabelledRow], background: tuple[int, int, int], gap: int | None
    ) -> None:
        cells = [[cell if isinstance(cell, str) else to_rgb_image(cell) for cell in row.cells] for row in rows]
        widest = max(picture.width for row in cells for picture in _pictures(row))
        highest = sum(max(picture.height for picture in _pictures(row)) for row in cells)
        factor = _factor(highest, round(widest * (len(heads) + _LABEL_PER_CELL)))
        if factor < 1:
            cells = [[cell if isinstance(cell, str) else _shrunk(cell, factor) for cell in row] for row in cells]
            widest = max(1, int(widest * factor))
        self.cells = cells
        self.background = background
        self.text_colour, self.note_colour = text_colour(background), note_colour(background)
        self.gap = max(2, round(widest * 0.02)) if gap is None else gap
        self.text_size = max(_SMALLEST_TEXT, round(widest * _TEXT_PER_CELL))
        self.note_size = max(_SMALLEST_TEXT - 1, round(self.text_size * _NOTE_PER_TEXT))
        self.label_width = max(7 * self.text_size, round(widest * _LABEL_PER_CELL))
        self.column_widths = [
            max((picture.width for picture in _pictures([row[column] for row in cells])), default=widest)
            for column in range(len(heads))
        ]
        self.labels = [self._label(row) for row in rows]
        self.heads = [
            _lines(head, width, _HEAD_LINES, self.text_size, self.text_colour)
            for head, width in zip(heads, self.column_widths)
        ]

    def draw(self) -> Image.Image:
        heights = [self._row_height(cells, label) for cells, label in zip(self.cells, self.labels)]
        head_height = max((_height(lines) for lines in self.heads), default=0)
        top = self.gap + (head_height + self.gap if head_height else 0)
        width = self.label_width + sum(self.column_widths) + self.gap * (len(self.column_widths) + 2)
        grid = Image.new("RGB", (width, top + sum(heights) + self.gap * len(heights)), self.background)
        drawing = ImageDraw.Draw(grid)
        for left, lines in zip(self._lefts(), self.heads):
            _draw_lines(drawing, left, self.gap + head_height - _height(lines), lines)
        for cells, label, height in zip(self.cells, self.labels, heights):
            _draw_lines(drawing, self.gap, top + max(0, (height - _height(label)) // 2), label)
            for left, width, cell in zip(self._lefts(), self.column_widths, cells):
                if isinstance(cell, str):
                    lines = _lines(cell, width, _NOTE_LINES, self.note_size, self.note_colour)
                    _draw_lines(drawing, left, top + max(0, (height - _height(lines)) // 2), lines)
                else:
                    grid.paste(cell, (left, top))
            top += height + self.gap
        return grid

    def _label(self, row: LabelledRow) -> list[_Line]:
        lines = _lines(row.label, self.label_width, _LABEL_LINES, self.text_size, self.text_colour)
        notes = [
            _lines(note, self.label_width, _NOTE_LINES, self.note_size, self.note_colour)
            for note in row.note.split("\n")
        ]
        return lines + [line for note in notes for line in note][:_NOTE_LINES]

    def _lefts(self) -> list[int]:
        lefts = [self.label_width + 2 * self.gap]
        for width in self.column_widths[:-1]:
            lefts.append(lefts[-1] + width + self.gap)
        return lefts

    @staticmethod
    def _row_height(cells: Sequence[Cell], label: Sequence[_Line]) -> int:
        return max(_height(label), *(picture.height for picture in _pictures(cells)))


def _pictures(cells: Sequence[Cell]) -> list[Image.Image]:
    return [cell for cell in cells if isinstance(cell, Image.Image)]


def _height(lines: Sequence[_Line]) -> int:
    return sum(line.height for line in lines)


def _draw_lines(drawing: ImageDraw.ImageDraw, left: int, top: int, lines: Sequence[_Line]) -> None:
    for line in lines:
        _draw_line(drawing, left, top + line.size, line)
        top += line.height


def _within_limits(grid: Image.Image) -> Image.Image:
    factor = _factor(grid.height, grid.width)
    return grid if factor == 1 else _shrunk(grid, factor)
