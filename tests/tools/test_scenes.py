"""The drawn scenes: masks agree with the pictures, captions with the masks."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tools.train_demo_model.captions import caption_text, is_held_out, make_caption
from tools.train_demo_model.drawing import EXTENT, KINDS, SHAPES, draw_mask
from tools.train_demo_model.palette import RGB
from tools.train_demo_model.scenes import SIZE, Plan, Scene, SceneObject, draw_scene, make_scene

SCENES = [make_scene(random.Random(seed)) for seed in range(40)]


def object_alone(kind: str, color: str = "red", background: str = "white") -> Scene:
    thing = SceneObject(kind, color, "normal", 60.0, 70.0, 24.0)
    return draw_scene(random.Random(0), Plan(background=background, objects=[thing]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_of_every_kind_is_where_the_picture_differs_from_its_ground(kind: str) -> None:
    scene = object_alone(kind, background="purple")  # no kind has a part of that colour
    ground = np.median(scene.picture[:6].reshape(-1, 3), axis=0)
    differs = np.abs(scene.picture.astype(int) - ground).sum(axis=-1) > 120
    mask = scene.masks[0] > 127
    assert (differs & mask).sum() / (differs | mask).sum() > 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_reaches_beyond_its_extent(kind: str) -> None:
    rows, columns = np.where(object_alone(kind).masks[0] > 0)
    assert np.abs(rows - 70).max() <= 24 * EXTENT + 2 and np.abs(columns - 60).max() <= 24 * EXTENT + 2


def test_every_shape_is_drawn_mostly_in_its_colour() -> None:
    for kind in SHAPES:
        scene = object_alone(kind, "blue")
        inside = scene.picture[scene.masks[0] > 250].astype(int)
        assert np.abs(inside - RGB["blue"]).max(axis=-1).mean() < 15, kind


def test_shapes_can_be_told_apart_by_their_outlines() -> None:
    masks = {kind: draw_mask(kind, 64) for kind in SHAPES}
    for first in SHAPES:
        for second in SHAPES:
            union = (masks[first] | masks[second]).sum()
            overlap = (masks[first] & masks[second]).sum() / union
            assert (overlap == 1) if first == second else (overlap < 0.9), (first, second)


def test_the_ring_has_a_hole_in_its_mask() -> None:
    mask = draw_mask("ring", 64)
    assert not mask[32, 32] and mask.any()


def test_a_later_object_hides_an_earlier_one_in_the_masks() -> None:
    things = [SceneObject("circle", "red", "normal", x, 64.0, 24.0) for x in (50.0, 60.0)]
    scene = draw_scene(random.Random(0), Plan(background="white", objects=things))
    first, second = (mask.astype(int) for mask in scene.masks)
    assert (first + second).max() <= 255 and first.sum() < second.sum()


def test_objects_and_regions_divide_the_picture() -> None:
    for scene in SCENES:
        total = sum(mask.astype(int) for mask in [*scene.masks, *scene.regions.values()])
        assert total.min() >= 200 and total.max() <= 300


def test_scenes_are_repeatable_and_varied() -> None:
    again = make_scene(random.Random(3))
    assert (again.picture == SCENES[3].picture).all()
    assert len({tuple(thing.kind for thing in scene.plan.objects) for scene in SCENES}) > 15
    assert {len(scene.plan.objects) for scene in SCENES} == {1, 2, 3}
    assert SCENES[0].picture.shape == (SIZE, SIZE, 3)


def test_every_caption_names_every_object_and_links_it_to_its_mask() -> None:
    rng = random.Random(0)
    for scene in SCENES:
        for _ in range(5):
            words = make_caption(rng, scene.plan)
            subjects = {word.subject for word in words if isinstance(word.subject, int)}
            assert subjects == set(range(len(scene.plan.objects)))
            regions = {word.subject for word in words if isinstance(word.subject, str)}
            assert regions <= set(scene.regions)


def test_a_colour_word_is_linked_to_an_object_of_that_colour() -> None:
    rng = random.Random(1)
    checked = 0
    for scene in SCENES:
        for word in make_caption(rng, scene.plan):
            if isinstance(word.subject, int) and word.text in RGB:
                assert scene.plan.objects[word.subject].color == word.text
                checked += 1
    assert checked > 20


def test_left_and_above_are_true_of_the_picture() -> None:
    left = SceneObject("circle", "red", "normal", 30.0, 64.0, 20.0)
    right = SceneObject("square", "blue", "normal", 98.0, 64.0, 20.0)
    rng = random.Random(2)
    for _ in range(200):
        text = caption_text(make_caption(rng, Plan(background="white", objects=[left, right])))
        if "left of" in text:
            assert min(text.find(noun) for noun in ("circle", "ball", "disc") if noun in text) < text.index("square")
        assert "above" not in text and "below" not in text


def test_no_trained_caption_is_held_out_and_one_in_twenty_would_be() -> None:
    rng = random.Random(4)
    texts = [caption_text(make_caption(rng, scene.plan)) for scene in SCENES for _ in range(20)]
    assert not any(map(is_held_out, texts))
    assert 0.03 < np.mean([is_held_out(f"a text {number}") for number in range(4000)]) < 0.07
