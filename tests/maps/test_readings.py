"""Readings of a trace: each entry of the table works everywhere, and none changes what strength is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import daam
from daam.cli.generate import make_parser
from daam.cli.options import read_settings
from daam.errors import NotKeptError, SettingError
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import READINGS, Reading, remark_of
from daam.maps.statistics import strengths
from daam.results.declaring import Setting
from daam.results.drawing import draw
from daam.results.drawing_settings import DrawingSettings
from daam.results.report import make_report
from daam.results.result import Result
from daam.results.settings import SETTINGS
from daam.studies.study_grid import measure_change
from tests.pipelines import sd1

PROMPT = "a red circle and a blue square"
REFINED = {"reading": "refined"}
EVERYWHERE = [name for name, reading in READINGS.items() if reading.needs != "outputs"]
"""Output maps need a model with joint attention: tests/hosts/test_output_maps.py."""


@pytest.fixture(scope="module")
def result() -> Result:
    settings = daam.GenerationSettings(PROMPT, negative="ugly", steps=2, height=64, width=72)
    return daam.generate(sd1(), settings, keep=("refined", "steps"), probe="tree")


@pytest.fixture(scope="module")
def plain(result: Result) -> HeatMaps:
    return result.heat_maps()


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_reading_has_a_map_of_every_word(name: str, plain: HeatMaps) -> None:
    read = plain.select(reading=name)
    assert list(read) == list(plain)
    for word in read:
        values = read[word].values
        assert values.shape == (64, 72) and np.isfinite(values).all() and values.min() >= 0 < values.max()
        assert (read[word].mask() == (values >= READINGS[name].threshold * values.max())).all()
    assert (read.select(reading="plain")["circle"].values == plain["circle"].values).all()


@pytest.mark.parametrize("name", EVERYWHERE)
def test_no_reading_changes_a_word_s_strength(name: str, plain: HeatMaps) -> None:
    read = plain.select(reading=name)
    assert strengths(read, list(read)) == strengths(plain, list(plain))
    assert read.attention == plain.attention
    assert daam.rank_words(read, (0, 0, 32, 32)) == daam.rank_words(plain, (0, 0, 32, 32))
    probe = HeatMaps(plain.trace, side="probe")
    assert strengths(probe.select(reading=name), ["tree"]) == strengths(probe, ["tree"])


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_reading_is_drawn_reported_and_studied(name: str, result: Result) -> None:
    looked = replace(result, drawing=DrawingSettings(reading=name, with_negative=True))
    drawn = {term.name: np.asarray(term.tile) for term in draw(looked).terms if term.tile is not None}
    before = {term.name: np.asarray(term.tile) for term in draw(result).terms if term.tile is not None}
    assert (drawn["circle"] != before["circle"]).any() == (name != "plain")
    assert draw(replace(looked, drawing=replace(looked.drawing, per_layer=True))).grid.width > 72
    (row,) = (row for row in make_report(looked)["images"][0]["terms"] if row["term"] == "circle")
    read = result.heat_maps().select(reading=name)
    assert row["statistics"]["coverage"] == float(read["circle"].mask().mean())
    assert row["statistics"]["strength"] == strengths(result.heat_maps(), ["circle"])["circle"]
    assert (READINGS[name].remark in looked.remarks) == bool(READINGS[name].remark)
    varied = daam.Result([picture.rotate(90) for picture in result.pictures], result.traces)
    change, mask = measure_change(looked, varied, "circle"), read["circle"].mask()
    assert change.inside == (None if mask.all() else float(change.values[mask].mean()))


def test_overlaps_are_those_of_the_chosen_masks(plain: HeatMaps) -> None:
    read = plain.select(reading="refined")
    red, circle = (read[word].mask() for word in ("red", "circle"))
    expected = (red & circle).sum() / (red | circle).sum()
    assert daam.term_statistics(read, ["red", "circle"])["red"]["overlap"]["circle"] == pytest.approx(expected)


def test_one_entry_is_all_that_a_new_reading_takes(monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    def inverted(text: Any, maps: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {layer: kept.amax() - kept for layer, kept in maps.items()}

    monkeypatch.setitem(READINGS, "inverted", Reading(inverted, 0.3, "upside down", remark="It is upside down."))
    maps = result.heat_maps()
    read = maps.select(reading="inverted", layers="up_blocks.*")
    assert (
        np.corrcoef(read["circle"].values.ravel(), maps.select(layers="up_blocks.*")["circle"].values.ravel())[0, 1] < 0
    )
    assert read_settings(make_parser().parse_args(["x", "--map", "inverted"])).reading == "inverted"
    (setting,) = (each for each in SETTINGS if each.name == "reading")
    assert isinstance(setting, Setting) and "inverted" in setting.choices
    looked = replace(result, drawing=DrawingSettings(reading="inverted"))
    assert draw(looked).terms and "It is upside down." in looked.remarks


def test_balanced_divides_each_layer_by_its_mean_and_keeps_the_attention(plain: HeatMaps) -> None:
    (text,) = (text for key, text in plain.trace.texts.items() if key.side == "positive")
    row = text.text.columns.index(3)
    layers = [maps[row].double() for maps in text.sums.values()]
    mean = sum(maps.mean() for maps in layers) / len(layers)
    by_size: dict[tuple[int, ...], torch.Tensor] = {}
    for maps in layers:
        by_size[tuple(maps.shape)] = by_size.get(tuple(maps.shape), 0) + maps / maps.mean() * mean
    for size, found in plain.select(reading="balanced").by_size("circle").items():
        torch.testing.assert_close(found.double(), by_size[size], rtol=1e-5, atol=1e-6)


def test_a_refined_map_is_as_strong_as_its_word(plain: HeatMaps) -> None:
    """So that a weak word looks weak on the shared scale."""
    read = plain.select(**REFINED)
    highest = {word: float(read[word].values.max()) / float(plain[word].values.max()) for word in ("red", "circle")}
    assert all(0.7 < ratio < 1.4 for ratio in highest.values()), highest


def test_what_cannot_be_read_is_told(result: Result) -> None:
    maps = result.heat_maps()
    with pytest.raises(SettingError, match="reading: expected plain, refined, output, balanced, got 'sharp'"):
        maps.select(reading="sharp")
    with pytest.raises(SettingError, match="refined maps are made from all layers"):
        DrawingSettings(layers="up_blocks.*", **REFINED)
    with pytest.raises(SettingError, match="refined maps are made from the whole trace"):
        maps.select(layers="up_blocks.*").select(**REFINED)
    trace = replace(result.traces[0], keep=(), not_refined="the moon is full")
    with pytest.raises(NotKeptError, match="there are no refined maps: the moon is full"):
        HeatMaps(trace).select(**REFINED)
    looked = Result(result.pictures, [trace], DrawingSettings(**REFINED))
    assert "There are no refined maps, the plain ones are shown: the moon is full." in looked.remarks
    before = draw(replace(result, drawing=DrawingSettings())).terms
    assert [np.asarray(each.tile).tolist() for each in draw(looked).terms[:2]] == [
        np.asarray(each.tile).tolist() for each in before[:2]
    ]
    assert remark_of("plain", trace) == ""
