"""The tile of a term, with and without a map."""

import numpy as np
from PIL import Image

from daam.pictures.captions import add_caption
from daam.pictures.overlay import overlay
from daam.pictures.tile import term_tile

PICTURE = Image.new("RGB", (128, 64), (200, 40, 40))
HEAT_MAP = np.linspace(0, 1, 64).reshape(8, 8)


def test_a_term_with_a_map_is_its_captioned_overlay() -> None:
    expected = add_caption(overlay(PICTURE, HEAT_MAP, opacity=0.7, colormap="jet"), "cat")
    assert term_tile(PICTURE, HEAT_MAP, "cat", opacity=0.7, colormap="jet").tobytes() == expected.tobytes()


def test_without_a_caption_it_has_the_pictures_size() -> None:
    tile = term_tile(PICTURE, HEAT_MAP, "cat", show_caption=False)
    assert tile.tobytes() == overlay(PICTURE, HEAT_MAP).tobytes()
    assert term_tile(PICTURE, None, "cat", show_caption=False).size == PICTURE.size


def test_a_term_without_a_map_is_grey_and_darker_than_the_picture() -> None:
    colour = np.asarray(term_tile(PICTURE, None, "cat"))[5, 5].astype(int)
    assert np.ptp(colour) <= 3
    assert colour.max() < np.asarray(PICTURE.convert("L"))[5, 5]


def test_a_term_without_a_map_says_why() -> None:
    with_reason = term_tile(PICTURE, None, "cat", reason="beyond the 75 tokens")
    assert with_reason.tobytes() != term_tile(PICTURE, None, "cat").tobytes()
    assert term_tile(PICTURE, None, "cat").height > term_tile(PICTURE, HEAT_MAP, "cat").height


def test_a_reason_is_shown_beside_a_map_too() -> None:
    assert term_tile(PICTURE, HEAT_MAP, "cat", reason="cut").height > term_tile(PICTURE, HEAT_MAP, "cat").height
