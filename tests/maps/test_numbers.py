"""Scales, statistics and observations, on drawn maps whose answers are known; the registries that hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from daam.errors import SettingError
from daam.maps.heat_maps import HeatMaps
from daam.maps.observations import OBSERVATIONS, Observation, observe
from daam.maps.scales import SCALES, apply_scale
from daam.maps.statistics import STATISTICS, rank_words, term_statistics, where
from daam.prompt import ClipTokenizer, parse_prompt
from daam.results.drawing import draw
from daam.results.drawing_settings import DrawingSettings
from daam.results.report import make_report
from daam.results.result import Result
from daam.results.viewer.data import viewer_data
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.text_maps import TextMaps
from tests.places import TOKENIZER

SIZE = 32


def drawn(**maps: np.ndarray) -> HeatMaps:
    """Heat maps of a prompt with one word for each map, as if one layer of the picture's size had been traced."""
    table = parse_prompt(" ".join(maps), ClipTokenizer.from_folder(TOKENIZER))
    text = TextMaps(TracedText(TextKey(0, "positive"), tuple(range(1, 1 + len(maps)))))
    text.sums = {"layer": torch.tensor(np.stack(list(maps.values())), dtype=torch.float32)}
    text.counts, text.heads = {"layer": 1}, {"layer": 1}
    return HeatMaps(ImageTrace((SIZE, SIZE), table, None, {text.text.key: text}, 1))


def box(top: int, bottom: int, left: int, right: int, value: float = 1.0) -> np.ndarray:
    values = np.zeros((SIZE, SIZE))
    values[top:bottom, left:right] = value
    return values


def numbers(maps: HeatMaps) -> dict[str, dict[str, Any]]:
    return term_statistics(maps, list(maps))


def test_every_statistic_is_there_for_every_term() -> None:
    found = numbers(drawn(cat=box(0, 8, 0, 8), dog=box(8, 16, 0, 8)))
    for name in STATISTICS:
        for term in ("cat", "dog"):
            assert found[term][name] is not None, name


def test_one_entry_is_all_that_a_new_statistic_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATISTICS, "highest", lambda context: float(context.heat_map.values.max()))
    maps = drawn(cat=box(0, 8, 0, 8, 4.0))
    assert numbers(maps)["cat"]["highest"] == 4.0
    (row,) = make_report(Result([Image.new("RGB", (8, 8))], [maps.trace]))["images"][0]["terms"]
    assert row["statistics"]["highest"] == 4.0


def test_one_entry_is_all_that_a_new_scale_takes_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, picture = drawn(cat=box(0, 8, 0, 8)), Image.new("RGB", (SIZE, SIZE))
    with pytest.raises(SettingError, match="scale"):
        DrawingSettings(scale="inverted")
    monkeypatch.setitem(SCALES, "inverted", lambda maps, all_words: 1 - maps / maps.max())
    settings = DrawingSettings(scale="inverted", opacity=1, colormap="gray", show_captions=False, image_scale=1)
    tile = np.asarray(draw(Result([picture], [maps.trace], settings)).terms[0].tile)
    assert (tile[:8, :8] == 0).all() and (tile[8:] == 255).all()


def test_one_entry_is_all_that_a_new_observation_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        OBSERVATIONS, "there", lambda facts: (Observation(f"{word} is there", (word,)) for word in facts.words)
    )
    maps, picture = drawn(cat=box(0, 8, 0, 8)), Image.new("RGB", (SIZE, SIZE))
    said = {"kind": "there", "text": "cat is there", "terms": ["cat"]}
    assert said in observe(maps) and said in viewer_data(picture, maps.trace, DrawingSettings())["observations"]


def test_strength_is_the_share_of_the_words_attention() -> None:
    found = numbers(drawn(cat=box(0, 8, 0, 8, 3.0), dog=box(0, 8, 0, 8, 1.0)))
    assert found["cat"]["strength"] == pytest.approx(0.75) and found["dog"]["strength"] == pytest.approx(0.25)


def test_coverage_is_the_share_of_pixels_above_the_threshold() -> None:
    values = box(0, 8, 0, 8) + box(16, 32, 0, 32, 0.39)
    assert numbers(drawn(cat=values))["cat"]["coverage"] == pytest.approx(64 / SIZE**2)


def test_peak_and_centre_are_places_from_the_top_left() -> None:
    values = box(4, 8, 20, 28)
    values[5, 21] = 2.0
    found = numbers(drawn(cat=values))["cat"]
    assert found["peak"] == pytest.approx((21.5 / SIZE, 5.5 / SIZE))
    assert found["center_of_mass"][0] == pytest.approx((24 * 32 + 21.5) / 33 / SIZE)
    assert where(found["center_of_mass"]) == "top right"


def test_spread_is_0_for_a_pixel_and_1_for_an_even_map() -> None:
    found = numbers(drawn(cat=box(3, 4, 3, 4), dog=np.ones((SIZE, SIZE)), bird=box(0, 16, 0, 32)))
    assert found["cat"]["spread"] == pytest.approx(0, abs=1e-6) and found["dog"]["spread"] == pytest.approx(1)
    assert found["bird"]["spread"] == pytest.approx(np.log(512) / np.log(1024))


def test_overlap_is_the_iou_with_each_other_term() -> None:
    found = numbers(drawn(cat=box(0, 8, 0, 8), dog=box(0, 8, 4, 12), bird=box(20, 24, 0, 4)))
    assert found["cat"]["overlap"] == pytest.approx({"dog": 1 / 3, "bird": 0})


def test_a_map_of_zeros_has_numbers_too() -> None:
    found = numbers(drawn(cat=np.zeros((SIZE, SIZE)), dog=box(0, 8, 0, 8)))["cat"]
    assert found["strength"] == 0 and found["coverage"] == 0 and found["spread"] == 0


def test_a_shared_scale_keeps_the_ratio_of_differences() -> None:
    maps = drawn(cat=box(0, 8, 0, 8, 4.0), dog=box(0, 8, 0, 8, 1.0))
    cat, dog = maps.scaled(["cat", "dog"], "shared")
    assert cat.max() == 1 and dog.max() == pytest.approx(0.25) and dog.min() == 0
    assert maps["dog"].scaled("shared").max() == pytest.approx(0.25)


def test_each_scale_reaches_from_0_to_1_and_an_even_map_is_0() -> None:
    values = box(0, 8, 0, 8, 4.0) + 1
    for scaled in drawn(cat=values, dog=values * 0.1).scaled(["cat", "dog"], "each"):
        assert scaled.min() == 0 and scaled.max() == 1
    assert drawn(cat=np.ones((SIZE, SIZE))).scaled(["cat"], "each").max() == 0


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_gives_0_to_1_of_the_same_shape(scale: str) -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((3, 5, 7), dtype=np.float32)
    scaled = apply_scale(scale, maps, maps.sum(axis=0))
    assert scaled.shape == maps.shape and scaled.min() >= 0 and scaled.max() <= 1


def test_an_unknown_scale_and_threshold_are_named() -> None:
    maps = drawn(cat=box(0, 8, 0, 8))
    with pytest.raises(SettingError, match="shared, each, share"):
        maps.scaled(["cat"], "log")
    with pytest.raises(SettingError, match=r"0\.\.1, got 1\.5"):
        maps["cat"].mask(1.5)


def test_words_merge_over_schedule_entries_and_tokens() -> None:
    """The mean over a word's tokens within an entry, the sum over entries."""
    maps = drawn(cat=box(0, 8, 0, 8, 4.0), dog=box(8, 16, 0, 8, 2.0))
    phrase = maps["cat dog"].values
    np.testing.assert_allclose(phrase, (maps["cat"].values + maps["dog"].values) / 2)
    text = next(iter(maps.trace.texts.values()))
    entry = replace(maps.table.parts[0].schedule[0], first_step=2, end_at_step=9)
    part = replace(maps.table.parts[0], schedule=(*maps.table.parts[0].schedule, entry))
    later = TextMaps(replace(text.text, key=text.text.key._replace(entry=1)), text.sums, text.counts)
    texts = {text.text.key: text, later.text.key: later}
    both = ImageTrace((SIZE, SIZE), replace(maps.table, parts=(part,)), None, texts)
    np.testing.assert_allclose(HeatMaps(both)["cat"].values, 2 * maps["cat"].values)


def test_words_of_a_region_are_ranked_by_their_share() -> None:
    maps = drawn(cat=box(0, 16, 0, 16, 3.0), dog=box(16, 32, 16, 32, 2.0), sky=box(0, 32, 0, 32, 1.0))
    assert rank_words(maps, (0, 0, 16, 16)) == pytest.approx({"cat": 0.75, "sky": 0.25, "dog": 0.0})
    assert list(rank_words(maps, (0, 0, 16, 16))) == ["cat", "sky", "dog"]
    assert list(rank_words(maps, (20, 20, 32, 32)))[0] == "dog"


@pytest.mark.parametrize("wrong", [(0, 0, 0, 5), (5, 0, 4, 5), (-1, 0, 4, 5), (0, 0, 4, SIZE + 1)])
def test_a_box_outside_the_picture_is_an_error(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(SettingError, match="box: expected"):
        rank_words(drawn(cat=box(0, 4, 0, 4)), wrong)
