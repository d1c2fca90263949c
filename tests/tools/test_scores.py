"""The benchmark's strict score and its intervals: what passes, what does not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import interval
from benchmarks.segmentation import is_present, recognise, segment
from benchmarks.strict import ground_share, is_one_region, is_strictly_right, touch
from tools.train_demo_model.held_out import Caption
from tools.train_demo_model.palette import RGB

CAPTION = Caption("", (("red", "square"), ("blue", "square")), "white")


def scene(ground: str = "white") -> np.ndarray:
    picture = np.empty((128, 128, 3), np.uint8)
    picture[:] = RGB[ground]
    picture[20:50, 20:50] = RGB["red"]
    picture[70:110, 70:110] = RGB["blue"]
    return picture


def is_right(picture: np.ndarray) -> bool:
    masks = segment(picture, CAPTION)
    shapes = all(is_present(mask) and recognise(mask) == "square" for mask in masks)
    return is_strictly_right(picture, masks, RGB["white"], shapes)


def test_what_was_asked_for_is_right() -> None:
    assert is_right(scene())


def test_a_double_is_not_right() -> None:
    picture = scene()
    picture[20:40, 80:100] = RGB["red"]
    assert not is_right(picture)


def test_another_ground_is_not_right() -> None:
    assert not is_right(scene("green"))


def test_another_shape_is_not_right() -> None:
    picture = scene()
    picture[20:50, 20:38] = RGB["white"]
    assert not is_right(picture)


def test_noise_is_not_right_though_every_colour_is_there() -> None:
    colors = np.array([RGB[name] for name in ("red", "blue", "white")], np.uint8)
    picture = colors[np.random.default_rng(0).integers(0, 3, (128, 128))]
    masks = segment(picture, CAPTION)
    assert all(is_present(mask) for mask in masks)
    assert not any(is_one_region(mask) for mask in masks)
    assert not is_strictly_right(picture, masks, RGB["white"], shapes_are_right=True)


def test_a_speck_of_the_decoder_is_no_double() -> None:
    picture = scene()
    picture[5:9, 100:104] = RGB["red"]
    assert is_right(picture)


def test_the_ground_is_what_is_no_object() -> None:
    picture = scene()
    picture[:64, 64:] = RGB["green"]
    masks = segment(picture, CAPTION)
    assert 0.6 < ground_share(picture, masks, RGB["white"]) < 0.75


def test_objects_touch_when_hardly_anything_lies_between_them() -> None:
    picture = scene()
    assert not touch(*segment(picture, CAPTION))
    picture[40:110, 53:110] = RGB["blue"]
    assert touch(*segment(picture, CAPTION))


def test_the_interval_of_a_mean_is_the_normal_one_for_many_numbers() -> None:
    values = np.random.default_rng(1).normal(5, 2, (400, 2))
    low, high = interval(values)
    expected = 1.96 * values.std(axis=0) / 20
    assert high - values.mean(axis=0) == pytest.approx(expected, rel=0.15)
    assert values.mean(axis=0) - low == pytest.approx(expected, rel=0.15)
    assert np.isnan(interval([])).all()
