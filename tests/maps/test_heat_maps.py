"""Heat maps answer for any term of the prompt, merge its places, and say why there is no map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import daam
from daam.errors import SettingError, ShapeError, TermError
from daam.maps.heat_maps import HeatMaps
from daam.maps.selection import Selection
from daam.prompt.terms import Term
from tests.pipelines import run, sd1

PROMPT = "a cat, a photorealism dog and a cat"
COLUMNS = {"a": [1, 4, 9], "cat": [2, 10], "cat#1": [2], "cat#2": [10], "photorealism": [5, 6], "dog and": [7, 8]}


@pytest.fixture(scope="module")
def maps() -> HeatMaps:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT)
    return tracer.heat_maps()


def upscaled(maps: HeatMaps, columns: list[int]) -> np.ndarray:
    """The mean over the columns, layer by layer."""
    (text,) = maps.trace.texts.values()
    rows = [text.text.columns.index(column) for column in columns]
    layers = [tensor[rows].mean(dim=0)[None, None] for tensor in text.sums.values()]
    grids = [functional.interpolate(layer, (64, 64), mode="bicubic", align_corners=False) for layer in layers]
    return torch.stack(grids).sum(dim=0)[0, 0].clamp(min=0).numpy()


@pytest.mark.parametrize("term", COLUMNS)
def test_a_map_is_the_mean_of_its_tokens(maps: HeatMaps, term: str) -> None:
    np.testing.assert_allclose(maps[term].values, upscaled(maps, COLUMNS[term]), rtol=1e-5, atol=1e-6)


def test_a_name_that_stands_for_other_places_has_another_map(maps: HeatMaps) -> None:
    for term in ("photorealism", "cat#2"):
        maps.know("some name", Term("some name", ()), maps[term].places)
        assert (maps["some name"].values == maps[term].values).all()
        assert all(torch.equal(found, maps.by_size(term)[size]) for size, found in maps.by_size("some name").items())


def test_all_ways_to_write_a_term_give_the_same_map(maps: HeatMaps) -> None:
    for same in ("CAT", " cat ", "(cat:1.3)", "cat:1.3", "[cat]", '"cat"'):
        assert (maps[same].values == maps["cat"].values).all()
    assert (maps["cat#2"].values != maps["cat"].values).any()


def test_they_are_a_mapping_of_the_prompts_words(maps: HeatMaps) -> None:
    assert list(maps) == ["a", "cat", "photorealism", "dog", "and"] and len(maps) == 5
    assert "cat" in maps and "photo" not in maps and 5 not in maps
    assert maps["cat"].to_numpy() is not maps["cat"].values and maps["cat"].values.dtype == np.float32
    assert maps.picture_size == (64, 64) == maps["cat"].values.shape


def test_an_overlay_shows_the_picture_or_the_map_alone(maps: HeatMaps) -> None:
    picture = np.full((64, 64, 3), 200, np.uint8)
    assert (np.asarray(maps["cat"].overlay(picture, opacity=0)) == 200).all()
    alone = np.asarray(maps["cat"].overlay(picture, opacity=1))
    assert alone.shape == (64, 64, 3) and (alone == np.asarray(maps["cat"].overlay(0 * picture, opacity=1))).all()


def test_an_overlay_is_of_the_picture_that_was_traced(maps: HeatMaps) -> None:
    for height, width in ((64, 64), (128, 128), (131, 130), (16, 16)):
        assert maps["cat"].overlay(np.zeros((height, width, 3), np.uint8)).size == (width, height)
    for height, width in ((64, 128), (128, 64), (64, 72), (512, 768)):
        with pytest.raises(ShapeError, match=f"the picture that was traced, 64x64, .* got {width}x{height}"):
            maps["cat"].overlay(np.zeros((height, width, 3), np.uint8))


def test_a_selection_narrows_what_was_selected(maps: HeatMaps) -> None:
    up = maps.select(layers="up_blocks.*")
    assert up.layers and set(up.layers) < set(maps.layers)
    assert list(up.select(resolutions=[(8, 8)]).layers) == list(up.layers)
    with pytest.raises(SettingError, match="no layer is left"):
        maps.select(layers="mid_block.*").select(resolutions=[(8, 8)])
    assert up["cat"].values.max() < maps["cat"].values.max()


def test_a_term_outside_the_chosen_layers_says_so(maps: HeatMaps) -> None:
    nothing = HeatMaps(maps.trace, selection=Selection(layers=("nothing.*",)))
    assert "has no map in the chosen layers" in str(nothing.explain("cat"))


def test_a_masks_threshold_is_checked(maps: HeatMaps) -> None:
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingError, match=r"threshold: expected 0\.\.1"):
            maps["cat"].mask(threshold)


def reasons(prompt: str, term: str, **options: Any) -> str:
    pipeline, side = sd1(), options.pop("side", "positive")
    with daam.trace(pipeline) as tracer:
        run(pipeline, prompt, num_inference_steps=1, **options)
    return str(tracer.heat_maps(side=side).explain(term))


LONG = "a [cat] (here) " + "very " * 80 + "long unicorn"


@pytest.mark.parametrize(
    "prompt, term, options, reason",
    [
        (LONG, "unicorn", {}, "'unicorn' was typed, but is not in the text that was encoded: the prompt is cut off"),
        ("a cat", "ugly", {"negative_prompt": "ugly"}, "'ugly' is only in the negative prompt"),
        ("a cat", "cat", {"negative_prompt": "ugly", "side": "negative"}, "'cat' is only in the positive prompt"),
        (
            "a cat", "ugly", {"negative_prompt": "ugly", "side": "negative", "guidance_scale": 1.0},
            "'ugly' was never active: the negative prompt conditioned no model call; it is not used with a guidance",
        ),
        ("", "cat", {}, "'cat' is not in the prompt; it has: no word"),
        ("a carpet", "car", {}, "'car' is not in the prompt; it has: a, carpet"),
        ("a cat", ", ,", {}, "expected one term, got 0"),
    ],
)  # fmt: skip
def test_a_reason_is_one_sentence(prompt: str, term: str, options: dict[str, Any], reason: str) -> None:
    assert reasons(prompt, term, **options).startswith(reason)


def test_shares_sum_to_1_over_every_word_of_a_real_trace() -> None:
    with daam.trace(pipeline := sd1()) as tracer:
        run(pipeline, "a red cat and a red dog")
    maps = tracer.heat_maps()
    np.testing.assert_allclose(maps.scaled(list(maps), "share").sum(axis=0), 1, rtol=1e-4)


SCHEDULED = [
    ("a [cat:19]", "cat", "never active: the prompt's schedule does not reach it"),
    ("a [dog:(cute:1.2) cat:19]", "cute cat", "never active: the prompt's schedule does not reach it"),
    ("a [cat::1] dog", "unicorn", "'unicorn' is not in the prompt"),
    ("a dog <lora:catstyle:1>", "catstyle", "only in an extra-network tag"),
    ("a dog <lora:catstyle:1>", "cat", "'cat' is not in the prompt"),
    ("a (dog:1.2)", "1.2", "not in the prompt"),
]


@pytest.mark.parametrize("prompt, term, reason", SCHEDULED)
def test_a_reason_of_a_prompt_in_the_webuis_syntax(prompt: str, term: str, reason: str) -> None:
    generation = daam.generate(sd1(), daam.GenerationSettings(prompt, steps=2, height=64, width=64))
    maps = generation.heat_maps()
    assert reason in str(maps.explain(term))
    with pytest.raises(TermError):
        maps[term]


def test_a_word_inside_an_embeddings_name_is_no_word() -> None:
    pipeline = sd1()
    pipeline.tokenizer.add_tokens(["<moody-style>"])
    pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a <moody-style> cat", num_inference_steps=1)
    maps = tracer.heat_maps()
    assert "part of the embedding '<moody-style>'" in str(maps.explain("moody"))
    assert maps["<moody-style>"].values.max() > 0
