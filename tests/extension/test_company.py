"""What other extensions do around a generation: their images in the gallery, and their work on the finished picture."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from daam.results.settings import Settings
from daam.webui.results import _behind
from daam.webui.run import Run


@pytest.mark.parametrize(("first", "step", "others", "place"), [(0, 1, 0, 2), (1, 1, 3, 3), (1, 3, 2, 7)])
def test_heat_maps_stand_right_behind_the_pictures_and_their_masks(
    first: int, step: int, others: int, place: int
) -> None:
    pictures = 2
    processed = SimpleNamespace(images=["image"] * (first + step * pictures + others))
    places = dict(enumerate(range(first, len(processed.images), step)))
    assert _behind(SimpleNamespace(all_prompts=["a", "b"]), processed, places) == place


def test_a_generation_on_one_finished_picture_is_of_that_picture() -> None:
    p = SimpleNamespace(iteration=1, batch_size=2, batch_index=1)
    run = Run(p, Settings.read([True]))
    run._see_other_generation(p)
    run._see_other_generation(None)
    assert run.retouched == set()
    run._see_other_generation(SimpleNamespace())
    assert run.retouched == {3}


def test_a_generation_before_pictures_are_finished_is_of_the_whole_batch() -> None:
    run = Run(SimpleNamespace(iteration=1, batch_size=2), Settings.read([True]))
    run._see_other_generation(SimpleNamespace())
    assert run.retouched == {2, 3}
