"""Colours of single values, checked against matplotlib's own colormaps."""

import matplotlib
import numpy as np
import pytest

from daam.errors import SettingError, ShapeError
from daam.pictures.colormaps import colorize, colormap_names


@pytest.mark.parametrize("name", ["turbo", "viridis", "jet", "gray", "hsv", "Reds_r"])
def test_the_colours_are_those_that_matplotlib_gives(name: str) -> None:
    values = np.linspace(0, 1, 1000, dtype=np.float32).reshape(20, 50)
    expected = matplotlib.colormaps[name](values, bytes=True)[..., :3]
    assert np.array_equal(colorize(values, name), expected)


@pytest.mark.parametrize("name", ["twilight", "twilight_shifted_r"])
def test_of_510_colours_the_nearest_of_256_is_given(name: str) -> None:
    values = np.linspace(0, 1, 1000).reshape(20, 50)
    expected = matplotlib.colormaps[name](values, bytes=True)[..., :3].astype(int)
    assert np.abs(colorize(values, name) - expected).max() <= 4


def test_every_name_on_the_list_gives_colours() -> None:
    values = np.linspace(0, 1, 6).reshape(2, 3)
    for name in colormap_names():
        colours = colorize(values, name)
        assert colours.shape == (2, 3, 3) and colours.dtype == np.uint8


def test_the_list_is_all_of_matplotlib_and_in_order() -> None:
    assert set(colormap_names()) == set(matplotlib.colormaps)
    assert [name.lower() for name in colormap_names()] == sorted(name.lower() for name in colormap_names())


def test_turbo_is_the_default() -> None:
    values = np.array([[0.1, 0.9]])
    assert np.array_equal(colorize(values), colorize(values, "turbo"))


def test_values_out_of_range_are_clipped_and_nan_is_zero() -> None:
    odd = np.array([[-0.5, 1.7, np.nan, np.inf, -np.inf]])
    assert np.array_equal(colorize(odd), colorize(np.array([[0.0, 1.0, 0.0, 1.0, 0.0]])))


def test_the_values_are_left_as_they_were() -> None:
    values = np.array([[2.0, np.nan]], np.float32)
    colorize(values)
    assert values[0, 0] == 2 and np.isnan(values[0, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.bool_])
def test_any_real_type_is_taken(dtype: type) -> None:
    assert np.array_equal(colorize(np.array([[0, 1]], dtype)), colorize(np.array([[0.0, 1.0]])))


def test_a_misspelt_name_is_answered_with_names_that_look_alike() -> None:
    with pytest.raises(SettingError, match="'viridi'.*viridis"):
        colorize(np.zeros((2, 2)), "viridi")


def test_a_name_with_wrong_capitals_is_answered_with_the_right_ones() -> None:
    with pytest.raises(SettingError, match=r"\bReds\b"):
        colorize(np.zeros((2, 2)), "REDS")


@pytest.mark.parametrize("shape", [(4,), (2, 2, 3), (0, 5)])
def test_values_without_height_and_width_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="height, width"):
        colorize(np.zeros(shape))
