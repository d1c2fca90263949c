"""Layouts against the WebUI's own arithmetic, and where each tile lies in the grid."""

import math

import numpy as np
import pytest
from PIL import Image

from daam.errors import SettingError, ShapeError
from daam.pictures.grid import LAYOUTS, LONGEST_SIDE, MOST_PIXELS, make_grid


def tile(colour: str, width: int = 20, height: int = 10) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def webui_rows(count: int, prevent_empty_spots: bool) -> int:
    """modules/images.py of AUTOMATIC1111 1.10, `image_grid`."""
    if prevent_empty_spots:
        rows = math.floor(math.sqrt(count))
        while count % rows != 0:
            rows -= 1
        return rows
    return min(round(math.sqrt(count)), count)


@pytest.mark.parametrize("count", range(1, 60))
def test_layouts_have_the_rows_of_the_webui(count: int) -> None:
    assert LAYOUTS["auto"](count, 1)[0] == webui_rows(count, prevent_empty_spots=False)
    assert LAYOUTS["no-gaps"](count, 1)[0] == webui_rows(count, prevent_empty_spots=True)


@pytest.mark.parametrize("count", range(1, 60))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tile_has_a_spot_and_no_row_or_column_is_empty(layout: str, count: int) -> None:
    for batch_size in (1, 2, 3, 100):
        rows, columns = LAYOUTS[layout](count, batch_size)
        assert rows * columns >= count > (columns - 1) * rows
        assert layout == "batch-rows" or (rows - 1) * columns < count


@pytest.mark.parametrize("count", range(1, 60))
def test_no_gaps_leaves_no_empty_spot(count: int) -> None:
    assert math.prod(LAYOUTS["no-gaps"](count, 1)) == count


def test_batch_rows_has_one_row_for_each_picture_of_the_batch() -> None:
    assert LAYOUTS["batch-rows"](12, 4) == (4, 3)
    assert LAYOUTS["batch-rows"](2, 4) == (2, 1)


def test_tiles_lie_row_by_row() -> None:
    grid = make_grid([tile(c) for c in ("red", "lime", "blue", "white")], gap=0)
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    assert np.array_equal(np.asarray(grid), expected.repeat(10, axis=0).repeat(20, axis=1))


def test_a_gap_is_between_tiles_only() -> None:
    grid = make_grid([tile("red"), tile("red")], layout="no-gaps", gap=4, background=(0, 0, 9))
    assert grid.size == (44, 10)
    assert grid.getpixel((19, 0)) == grid.getpixel((24, 0)) == (255, 0, 0)
    assert grid.getpixel((20, 0)) == grid.getpixel((23, 9)) == (0, 0, 9)


def test_the_tiles_of_a_row_start_at_one_height_and_the_next_row_below_the_highest() -> None:
    tiles = [tile("red", height=10), tile("lime", height=30), tile("blue"), tile("blue")]
    grid = make_grid(tiles, gap=0, background="white")
    assert grid.size == (40, 40)
    assert [grid.getpixel((5, y)) for y in (0, 9, 10, 29, 30)] == [
        (255, 0, 0),
        (255, 0, 0),
        (255, 255, 255),
        (255, 255, 255),
        (0, 0, 255),
    ]


def test_a_narrow_tile_is_in_the_middle_of_its_column() -> None:
    grid = make_grid([tile("red", width=10), tile("blue", width=20)], layout="batch-rows", batch_size=2, gap=0)
    assert [grid.getpixel((x, 0)) == (255, 0, 0) for x in (4, 5, 14, 15)] == [False, True, True, False]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_tiles_of_other_modes_are_taken(mode: str) -> None:
    assert make_grid([tile("white").convert(mode)]).getpixel((3, 3)) == (255, 255, 255)


def test_a_grid_that_would_be_too_long_is_scaled_down() -> None:
    tiles = [tile("red", 1000, 100)] * 17
    grid = make_grid(tiles, layout="no-gaps")
    assert LONGEST_SIDE * 0.98 < grid.width <= LONGEST_SIDE
    assert grid.height == pytest.approx(100 * 16 / 17, abs=2)


def test_a_grid_of_too_many_pixels_is_scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daam.pictures.grid.MOST_PIXELS", 10_000)
    width, height = make_grid([tile("red", 100, 100)] * 4, gap=10).size
    assert MOST_PIXELS > 10_000 >= width * height > 8_000


def test_no_tiles_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one"):
        make_grid([])


def test_an_unknown_layout_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingError, match="auto, no-gaps, batch-rows, got 'square'"):
        make_grid([tile("red")], layout="square")


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="batch size"):
        make_grid([tile("red")], batch_size=0)
    with pytest.raises(SettingError, match="gap"):
        make_grid([tile("red")], gap=-1)
    with pytest.raises(SettingError, match="colour"):
        make_grid([tile("red")], background="no such colour")
