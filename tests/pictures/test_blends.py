"""How opaque a map lies over its picture: the ends are the same for every blend, and hot places come first."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from daam.errors import SettingError
from daam.pictures.blends import BLENDS, opacity_levels
from daam.pictures.colormaps import colorize
from daam.pictures.overlay import overlay

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 256, 3), np.uint8))
RAMP = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (16, 1))


@pytest.mark.parametrize("blend", BLENDS)
def test_opacity_0_is_the_picture_and_1_the_map_alone(blend: str) -> None:
    assert (np.asarray(overlay(PICTURE, RAMP, opacity=0, blend=blend)) == np.asarray(PICTURE)).all()
    assert (np.asarray(overlay(PICTURE, RAMP, opacity=1, blend=blend)) == colorize(RAMP, "turbo")).all()


def test_by_heat_the_picture_stays_where_nothing_is_hot() -> None:
    drawn = np.asarray(overlay(PICTURE, RAMP, blend="heat"), np.float32)
    change = np.abs(drawn - np.asarray(PICTURE, np.float32)).mean(axis=(0, 2))
    left = np.abs(colorize(RAMP, "turbo").astype(np.float32) - drawn).mean(axis=(0, 2))
    assert change[:26].mean() < 8, "a tenth of the heat hardly shows"
    assert left[-26:].mean() < 20, "the hottest is the map's colour"
    levels = opacity_levels("heat", 0.5)
    assert (np.diff(levels) > 0).all() and levels[0] < 0.05 and levels[-1] > 0.8


def test_an_unknown_blend_is_named() -> None:
    with pytest.raises(SettingError, match="heat, even, got 'mud'"):
        overlay(PICTURE, RAMP, blend="mud")
