"""The benchmark's sets of truth, and how well a map finds a region."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.drawn_scenes import SEVERAL_COLOURS, look_at, same, things
from benchmarks.regions import (
    ABLATION,
    MAPS,
    THRESHOLDS,
    Region,
    Scores,
    at_chosen_threshold,
    average_precision,
    lines_of,
    measure,
)
from daam.hosts.diffusers_models import load_pipeline
from tools.train_demo_model.captions import is_held_out


def test_things_are_of_several_colours_and_their_captions_held_out() -> None:
    scenes = things(5)
    for scene in scenes:
        assert is_held_out(scene.text) and set(scene.masks) <= set(SEVERAL_COLOURS)
        for noun, mask in scene.masks.items():
            assert noun in scene.text.split() and mask.shape == (128, 128)
            inside, step = scene.picture[mask].astype(int), 24
            assert len(np.unique(inside // step, axis=0)) > 1, "of one colour"
    assert [scene.text for scene in things(5)] == [scene.text for scene in scenes]


def test_pairs_are_of_one_colour_and_apart() -> None:
    for scene in same(5):
        assert is_held_out(scene.text) and len(scene.masks) == 2
        first, second = scene.masks.values()
        assert not (first & second).any()
        colours = [np.median(scene.picture[mask], axis=0) for mask in (first, second)]
        assert np.abs(colours[0] - colours[1]).max() < 30
        ground = np.median(scene.picture[~(first | second)], axis=0)
        assert np.abs(colours[0] - ground).max() > 30


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_the_mean_over_the_mask_s_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, mask = rng.random((5, 6)), rng.random((5, 6)) > 0.6
    ranked = sorted(zip(values.ravel(), mask.ravel()), reverse=True)
    hits = [hit for _, hit in ranked]
    expected = np.mean([sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit])
    assert average_precision(values, mask) == pytest.approx(expected)
    assert average_precision(mask.astype(float), mask) == 1.0


def test_a_threshold_is_chosen_on_the_other_half_of_the_captions() -> None:
    iou = np.zeros((4, len(THRESHOLDS)))
    iou[:2, 3], iou[:2, 7] = 0.9, 0.5  # captions 0 and 1 are best at the fourth threshold
    iou[2:, 3], iou[2:, 7] = 0.2, 0.8  # captions 2 and 3 at the eighth
    found, chosen = at_chosen_threshold(Scores(iou, np.zeros(4), np.zeros(4)), [0, 1, 2, 3])
    assert found.tolist() == [0.5, 0.5, 0.2, 0.2]
    assert chosen == [THRESHOLDS[7], THRESHOLDS[3]]


def test_every_kind_of_map_is_measured_on_a_drawn_scene() -> None:
    seen = list(look_at(load_pipeline("embedded"), same(4), steps=4))
    regions = [
        Region(noun, mask, each.scene.picture, each.trace, each.along, seen[number - 1].along, number)
        for number, each in enumerate(seen)
        for noun, mask in each.scene.masks.items()
    ]
    assert [each.trace.calls for each in seen] == [4] * 4
    found = measure(regions, {**MAPS, **ABLATION})
    assert list(found) == [*MAPS, *ABLATION] and found["plain"]["beyond"] == 0
    assert found["refined"]["IoU"] > found["control: refined along another picture"]["IoU"]
    assert found["refined"]["IoU"] != found["refined, contrast 2"]["IoU"]
    assert len(lines_of(found)) == 1 + len(found)
