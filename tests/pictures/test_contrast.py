"""Text can be read on every ground that the WebUI can be set to."""

from __future__ import annotations

from itertools import product

import pytest

from daam.pictures.contrast import ENOUGH, contrast, note_colour, text_colour


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(
        4.48, abs=0.01
    )  # WebAIM's example of just too little


def test_text_and_notes_can_be_read_on_every_colour() -> None:
    steps = range(0, 256, 15)
    for ground in product(steps, steps, steps):
        assert contrast(text_colour(ground), ground) >= ENOUGH, ground
        assert contrast(note_colour(ground), ground) >= ENOUGH, ground


def test_notes_are_paler_than_text_where_there_is_room() -> None:
    for ground in ((255, 255, 255), (24, 24, 27)):
        assert ENOUGH <= contrast(note_colour(ground), ground) < contrast(text_colour(ground), ground)
