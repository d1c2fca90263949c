"""A selected word offers its head and its dependents, where spaCy is there; elsewhere nothing is seen of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import daam
from daam.results.result import Result
from daam.results.viewer.data import viewer_of
from daam.results.viewer.page import report_html

PROMPT = "a red circle and a blue square"


@pytest.fixture(scope="module")
def result() -> Result:
    settings = daam.GenerationSettings(PROMPT, seed=1, steps=2, guidance_scale=5.0)
    return daam.generate(daam.load_pipeline(), settings)


def relations(result: Result) -> dict[str, set[str]]:
    fresh = Result(result.pictures, result.traces, result.drawing, result.notes)
    (prompt,) = (each for each in viewer_of(fresh, 0)["prompts"] if each["side"] == "positive")
    return {
        chip["term"]: {
            f"{each['role']} {PROMPT[slice(*each['span'])]} {each['relation']}" for each in chip["relations"]
        }
        for chip in prompt["chips"]
        if "relations" in chip
    }


def test_the_data_of_a_word_have_its_relations_both_ways(result: Result) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    found = relations(result)
    assert found["red"] == {"head circle amod"}
    assert found["circle"] == {"dependent a det", "dependent red amod", "dependent and cc", "dependent square conj:and"}


def test_without_spacy_there_is_none(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    monkeypatch.setattr("daam.results.viewer.relations.find_spec", lambda name: None)
    assert relations(result) == {}


def test_a_selected_word_offers_its_relatives_and_a_click_adds_one(
    browser: Any, result: Result, tmp_path: Path
) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed")
    file = tmp_path / "report.html"
    file.write_text(report_html(result), "utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector("[data-ready=true]")
    row = page.locator(".attention-heatmap-relatives")
    assert row.inner_text().strip() == ""
    page.locator(".attention-heatmap-chip", has=page.locator("text='square'")).click()
    assert row.inner_text().split() == ["belongs", "to", "circle", "with", "it", "a", "blue"]
    row.locator("button:text-is('blue')").click()
    pressed = page.locator(".attention-heatmap-chip[aria-pressed=true]").all_inner_texts()
    assert sorted(text.strip().split("\n")[0] for text in pressed) == ["blue", "square"]
    assert row.inner_text().strip() == "" and not errors
    page.close()
