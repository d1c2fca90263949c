"""Studies: which variants a prompt gives, what is refused, and how the results are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import daam
from daam.errors import SettingError, TermError
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.studies.study import Variant, count_variants, parse_weights, plan_study
from daam.studies.study_grid import draw_study, measure_change
from tests.pipelines import run, sd1
from tests.places import TOKENIZER

PROMPT = "a (red circle:1.2), a blue circle"


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer.from_folder(TOKENIZER)


@pytest.fixture(scope="module")
def table(tokenizer: ClipTokenizer) -> PromptTable:
    return parse_prompt(PROMPT, tokenizer)


def test_variants_are_the_unmodified_prompt_then_each_terms_weights_then_without_it(table: PromptTable) -> None:
    variants = plan_study(table, "red, blue circle", [0.6, 1.5], leave_out=True)
    assert [(variant.label, variant.prompt) for variant in variants] == [
        ("unmodified", PROMPT),
        ("red × 0.6", "a ((red:0.5) circle:1.2), a blue circle"),
        ("red × 1.5", "a ((red:1.25) circle:1.2), a blue circle"),
        ("without red", "a (circle:1.2), a blue circle"),
        ("blue circle × 0.6", "a (red circle:1.2), a (blue circle:0.6)"),
        ("blue circle × 1.5", "a (red circle:1.2), a (blue circle:1.5)"),
        ("without blue circle", "a (red circle:1.2), a"),
    ]
    assert len(variants) == count_variants(2, 2, True)


def test_a_term_that_stands_twice_is_changed_at_both_places(table: PromptTable, tokenizer: ClipTokenizer) -> None:
    changed = plan_study(table, "circle", [0.5], leave_out=False)[1]
    columns = parse_prompt(changed.prompt, tokenizer).parts[0].schedule[0].columns
    weights = {column.weight for column in columns if column.piece == "circle"}
    assert weights and all(weight == pytest.approx(0.5, abs=0.006) for weight in weights)


def test_no_terms_means_every_word(table: PromptTable) -> None:
    labels = [variant.label for variant in plan_study(table, "", [], leave_out=True)]
    assert labels == ["unmodified", "without a", "without red", "without circle", "without blue"]


@pytest.mark.parametrize(
    ("terms", "weights", "leave_out", "message"),
    [
        ("red", [], False, "got neither"),
        ("", [number / 10 for number in range(30)], True, "at most 100 generations, got 125"),
        ("red", [float(10**6)], False, "expected"),
    ],
)
def test_nonsense_is_refused(
    table: PromptTable, terms: str, weights: list[float], leave_out: bool, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        plan_study(table, terms, weights, leave_out=leave_out)


def test_a_term_that_is_not_there_is_named_with_those_that_are(table: PromptTable) -> None:
    with pytest.raises(TermError, match="'unicorn' is not in the prompt; choose from: a, red, circle, blue"):
        plan_study(table, "unicorn", [0.5], leave_out=False)


def test_an_empty_prompt_has_nothing_to_vary(tokenizer: ClipTokenizer) -> None:
    with pytest.raises(SettingError, match="words to vary"):
        plan_study(parse_prompt("", tokenizer), "", [0.5], leave_out=True)


def test_weights_are_read_once_each_in_order() -> None:
    assert parse_weights(" 0.6,1.4 , 0.6,,-1") == [0.6, 1.4, -1.0]
    for text in ("much", "0.5; 0.6", "nan", "inf"):
        with pytest.raises(SettingError, match="expected numbers"):
            parse_weights(text)


def results() -> dict[Variant, Result]:
    pipeline, found = sd1(), {}
    for variant in (Variant("unmodified", "a red circle"), Variant("without red", "a circle", "red", True)):
        with daam.trace(pipeline) as tracer:
            pixels = run(pipeline, variant.prompt)
        picture = Image.fromarray((np.asarray(pixels)[0] * 255).astype(np.uint8))
        found[variant] = Result([picture], [tracer.image_trace()])
    return found


def test_the_change_is_the_mean_difference_within_the_terms_map_and_outside() -> None:
    base, varied = results().values()
    for maps in base.traces[0].texts.values():
        for layer in maps.sums.values():
            layer[..., : layer.shape[-1] // 2] = 0
    change = measure_change(base, varied, "red")
    before, after = (np.asarray(result.pictures[0], float) for result in (base, varied))
    expected = np.abs(after - before).mean(axis=2) / 255
    assert change.values == pytest.approx(expected, abs=1e-6) and change.mean > 0
    mask = base.heat_maps()["red"].mask()
    assert change.inside == pytest.approx(expected[mask].mean(), abs=1e-6)
    assert change.outside == pytest.approx(expected[~mask].mean(), abs=1e-6)
    same = measure_change(base, base, None)
    assert same.mean == 0 and same.inside is None


def test_the_grid_has_a_row_for_each_variant_and_columns_for_picture_terms_and_change() -> None:
    found = results()
    settings = DrawingSettings(image_scale=1.0, show_captions=False, terms="red, circle")
    grid = draw_study(found, settings)
    width, height = next(iter(found.values())).pictures[0].size
    first = draw_study(dict(list(found.items())[:1]), settings)
    assert grid.width == first.width > 4 * width
    assert 0 <= grid.height - first.height - height < 10
    assert draw_study(found, replace(settings, terms="circle")).width == grid.width - width - max(
        2, round(width * 0.02)
    )


def test_a_variant_without_a_term_says_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "daam.studies.study_grid.labelled_grid",
        lambda heads, rows, **_: said.extend(cell for row in rows for cell in row.cells if isinstance(cell, str)),
    )
    draw_study(results(), DrawingSettings(terms="red, unicorn"))
    unknown = [cell for cell in said if "'unicorn' is not in the prompt" in cell]
    assert len(unknown) == 2 and [cell for cell in said if cell not in unknown] == ["", "left out"]
