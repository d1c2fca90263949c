"""The table of pictures: heads, labels, cells in their places, and rows that are left out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from daam.errors import SettingError, ShapeError
from daam.pictures.grid import LONGEST_SIDE
from daam.pictures.labelled_grid import LabelledRow, labelled_grid

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def plain(colour: tuple[int, int, int], width: int = 100, height: int = 80) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def box(grid: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of everything that has exactly this colour."""
    rows, columns = np.nonzero((np.asarray(grid) == colour).all(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def ink(picture: Image.Image, background: tuple[int, int, int] = BLACK) -> int:
    return int((np.asarray(picture) != background).any(axis=2).sum())


def test_cells_stand_in_their_column_and_row_untouched() -> None:
    rows = [LabelledRow("one", [plain(RED), plain(GREEN)]), LabelledRow("two", [plain(BLUE), ""])]
    grid = labelled_grid(["left", "right"], rows, background="black")
    left, top, right, bottom = box(grid, RED)
    assert (right - left, bottom - top) == (100, 80)
    assert box(grid, GREEN)[0] == right + 2 and box(grid, GREEN)[1] == top
    assert box(grid, BLUE)[0] == left and box(grid, BLUE)[1] == bottom + 2


def test_labels_are_left_of_the_cells_and_heads_above() -> None:
    grid = labelled_grid(["head"], [LabelledRow("label", [plain(RED)], "note")], background="black")
    left, top, right, _ = box(grid, RED)
    assert ink(grid.crop((0, top, left, grid.height))) > 50
    assert ink(grid.crop((left, 0, right, top))) > 30
    assert ink(grid.crop((0, 0, left, top))) == 0


def test_a_note_begins_a_new_line_for_each_of_its_lines() -> None:
    one = labelled_grid([""], [LabelledRow("x", [plain(RED, 100, 4)], "a b")], background="black")
    two = labelled_grid([""], [LabelledRow("x", [plain(RED, 100, 4)], "a\nb")], background="black")
    assert two.height > one.height


def test_without_heads_there_is_no_room_for_them() -> None:
    rows = [LabelledRow("label", [plain(RED)])]
    assert labelled_grid([""], rows).height < labelled_grid(["head"], rows).height


def test_a_row_without_a_picture_is_left_out() -> None:
    rows = [LabelledRow("one", [plain(RED), ""]), LabelledRow("interrupted", ["", "no map"])]
    assert labelled_grid(["a", "b"], rows).tobytes() == labelled_grid(["a", "b"], rows[:1]).tobytes()
    with pytest.raises(ShapeError, match="got none"):
        labelled_grid(["a", "b"], rows[1:])


def test_a_cell_may_say_why_it_has_no_picture() -> None:
    rows = [LabelledRow("x", [plain(RED), "left out"])]
    grid = labelled_grid(["", ""], rows, background="black")
    _, _, right, _ = box(grid, RED)
    assert ink(grid.crop((right, 0, grid.width, grid.height))) > 30


def test_rows_and_columns_are_as_large_as_their_largest_picture() -> None:
    rows = [LabelledRow("", [plain(RED, 40, 30), plain(GREEN, 100, 60)]), LabelledRow("", [plain(BLUE, 60, 20), ""])]
    grid = labelled_grid(["", ""], rows, background="black", gap=5)
    assert box(grid, GREEN)[0] == box(grid, BLUE)[0] + 60 + 5
    assert box(grid, BLUE)[1] == box(grid, GREEN)[3] + 5


def test_a_long_label_makes_its_row_higher_and_ends() -> None:
    rows = [LabelledRow("word " * 500, [plain(RED, 100, 10)], "note\n" * 100)]
    assert labelled_grid(["head " * 100], rows).height < 600


def test_a_huge_grid_is_scaled_down_to_the_limits() -> None:
    rows = [LabelledRow(str(number), [plain(RED, 256, 600)]) for number in range(40)]
    grid = labelled_grid(["head"], rows)
    assert max(grid.size) <= LONGEST_SIDE
    assert grid.height > 0.9 * LONGEST_SIDE


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="'x': expected 2 cells"):
        labelled_grid(["a", "b"], [LabelledRow("x", [plain(RED)])])
    with pytest.raises(ShapeError, match="got none"):
        labelled_grid([], [])
    with pytest.raises(SettingError, match="colour"):
        labelled_grid(["a"], [LabelledRow("x", [plain(RED)])], background="no colour")
