"""Blending, masks and scaling, checked against numpy's and Pillow's arithmetic."""

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from daam.errors import SettingError, ShapeError
from daam.pictures.overlay import mask_image, overlay, resize_heat_map, scale_picture


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture
def heat_map() -> NDArray[np.float32]:
    return np.random.default_rng(2).random((24, 40), np.float32)


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 0.8, 1.0])
def test_the_blend_is_the_weighted_sum(
    picture: NDArray[np.uint8], heat_map: NDArray[np.float32], opacity: float
) -> None:
    colours = matplotlib.colormaps["turbo"](heat_map, bytes=True)[..., :3]
    expected = colours * opacity + picture * (1 - opacity)
    blended = np.asarray(overlay(picture, heat_map, opacity=opacity))
    assert np.abs(blended - expected).max() <= 0.51


def test_opacity_zero_gives_the_pictures_exact_pixels(picture: NDArray[np.uint8]) -> None:
    assert np.array_equal(np.asarray(overlay(picture, np.ones((3, 3)), opacity=0)), picture)


def test_opacity_one_shows_nothing_of_the_picture(picture: NDArray[np.uint8], heat_map: NDArray[np.float32]) -> None:
    over_picture = np.asarray(overlay(picture, heat_map, opacity=1))
    assert np.array_equal(over_picture, np.asarray(overlay(255 - picture, heat_map, opacity=1)))


def test_the_hot_spot_stays_where_it_is_in_a_picture_that_is_not_square() -> None:
    heat_map = np.zeros((4, 8))
    heat_map[3, 0] = 1
    blended = np.asarray(overlay(np.zeros((64, 128, 3), np.uint8), heat_map, opacity=1, colormap="gray"))
    assert blended[60, 4].min() > 200
    assert blended[4, 4].max() == blended[60, 120].max() == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I", "F", "HSV", "YCbCr"])
def test_pictures_of_every_mode_are_taken(mode: str) -> None:
    picture = Image.new("RGB", (16, 12), "white").convert(mode)
    result = overlay(picture, np.zeros((2, 2)))
    assert (result.mode, result.size) == ("RGB", (16, 12))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3)])
def test_pictures_and_maps_of_any_size_fit_together(size: tuple[int, int]) -> None:
    assert overlay(Image.new("RGB", size), np.ones((9, 2))).size == size
    assert overlay(Image.new("RGB", (9, 2)), np.ones(size)).size == (9, 2)


def test_a_map_with_nan_and_infinity_is_drawn() -> None:
    odd = np.array([[np.nan, np.inf], [-np.inf, 5]])
    expected = overlay(np.zeros((8, 8, 3), np.uint8), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert np.array_equal(np.asarray(overlay(np.zeros((8, 8, 3), np.uint8), odd)), np.asarray(expected))


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_out_of_range_is_refused(opacity: float) -> None:
    with pytest.raises(SettingError, match="0 to 1"):
        overlay(Image.new("RGB", (4, 4)), np.zeros((2, 2)), opacity=opacity)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 1), (0, 2)])
def test_a_map_that_is_not_a_plane_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="height, width"):
        overlay(Image.new("RGB", (4, 4)), np.zeros(shape))


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), Image.new("RGB", (0, 4)), "a.png"],
)
def test_what_is_not_a_picture_is_refused(picture: object) -> None:
    with pytest.raises(ShapeError, match="expected a"):
        overlay(picture, np.zeros((2, 2)))  # type: ignore[arg-type]


def test_picture_and_map_are_left_as_they_were(picture: NDArray[np.uint8], heat_map: NDArray[np.float32]) -> None:
    picture_before, map_before = picture.copy(), heat_map.copy()
    overlay(picture, heat_map)
    assert np.array_equal(picture, picture_before) and np.array_equal(heat_map, map_before)


def test_resizing_stays_between_zero_and_one_though_cubic_overshoots() -> None:
    edge = np.zeros((8, 8))
    edge[:, 4:] = 1
    resized = resize_heat_map(edge, 64, 64)
    assert (resized.min(), resized.max(), resized.shape) == (0, 1, (64, 64))
    assert resized.dtype == np.float32


def test_shrinking_a_map_takes_means() -> None:
    fine = np.random.default_rng(3).random((32, 32))
    expected = fine.reshape(8, 4, 8, 4).mean((1, 3))
    assert np.allclose(resize_heat_map(fine, 8, 8), expected, atol=1e-6)


def test_a_mask_is_white_where_it_is_true() -> None:
    mask = np.array([[True, False, False], [False, False, True]])
    image = mask_image(mask)
    assert (image.mode, image.size) == ("L", (3, 2))
    assert np.asarray(image).tolist() == [[255, 0, 0], [0, 0, 255]]


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros(4, bool), np.zeros((0, 2), bool)])
def test_what_is_not_a_mask_is_refused(mask: NDArray[np.bool_]) -> None:
    with pytest.raises(ShapeError, match="bool"):
        mask_image(mask)


@pytest.mark.parametrize(("factor", "size"), [(1, (40, 24)), (0.5, (20, 12)), (2.0, (80, 48)), (0.001, (1, 1))])
def test_a_scaled_picture_has_the_size_asked_for(
    picture: NDArray[np.uint8], factor: float, size: tuple[int, int]
) -> None:
    assert scale_picture(Image.fromarray(picture), factor).size == size


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), 1000])
def test_a_scale_that_makes_no_sense_is_refused(factor: float) -> None:
    with pytest.raises(SettingError, match="scale"):
        scale_picture(Image.new("RGB", (40, 24)), factor)
