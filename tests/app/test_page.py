"""The page of `daam ui` in a real browser, and what it says when something does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")

from daam.app.page import Session
from daam.hosts.diffusers_generate import GenerationSettings
from tests.opened_app import opened_app, press_generate


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    with opened_app(browser) as opened:
        yield opened


def test_generate_shows_the_viewer_with_the_prompt_as_typed(page: Any) -> None:
    page.locator("#prompt textarea").fill("a (red:1.2) circle <b>&amp; 🐈")
    page.locator("#steps input[type=number]").fill("4")
    press_generate(page)
    frame = page.frame_locator("#viewer iframe >> nth=0")
    frame.locator("[data-ready=true]").wait_for(timeout=120_000)
    assert frame.locator(".attention-heatmap-prompt").input_value() == "a (red:1.2) circle <b>&amp; 🐈"
    frame.locator(".attention-heatmap-chip", has_text="circle").first.click()
    frame.locator(".attention-heatmap-action:text-is('+')").click()
    changed = "a (red:1.2) (circle:1.1) <b>&amp; 🐈"
    assert frame.locator(".attention-heatmap-prompt").input_value() == changed
    assert page.locator("#prompt textarea").input_value() == changed
    frame.locator(".attention-heatmap-menu summary").click()
    frame.locator(".attention-heatmap-action:text-is('Use as terms')").click()
    assert page.locator("#terms textarea").input_value() == "circle"
    page.locator("#runs img").first.wait_for()


def test_what_the_viewer_wrote_is_generated_next(page: Any) -> None:
    page.locator("#terms textarea").fill("circle, unicorn")
    frame = page.frame_locator("#viewer iframe >> nth=0")
    frame.locator("button.attention-heatmap-action:text-is('Generate')").click()
    page.locator("#viewer p", has_text="'unicorn' is not in the prompt").wait_for(timeout=120_000)
    frame = page.frame_locator("#viewer iframe >> nth=0")
    frame.locator("[data-ready=true]").wait_for()
    assert frame.locator(".attention-heatmap-prompt").input_value() == "a (red:1.2) (circle:1.1) <b>&amp; 🐈"
    assert frame.locator(".attention-heatmap-chosen").inner_text() == "Changes “circle”", "it is selected as before"
    frame.locator("button:text-is('Compare')").click()
    frame.locator(".attention-heatmap-before img").wait_for()
    assert "→" in frame.locator(".attention-heatmap-legend").inner_text()
    frame.locator(".attention-heatmap-menu summary").click()
    with page.expect_download() as download:
        frame.locator(".attention-heatmap-action:text-is('Save report')").click()
    report = Path(download.value.path()).rename(download.value.path().with_suffix(".html"))
    opened = page.context.browser.new_page()
    opened.goto(report.as_uri())
    opened.wait_for_selector("[data-ready=true]")
    assert opened.locator(".attention-heatmap-chosen").inner_text() == "Changes “circle”", "as the page looked"
    opened.close()
    with page.expect_download() as download:
        page.locator("#grid a").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_an_earlier_run_comes_back_from_the_gallery(page: Any) -> None:
    page.locator("#runs .thumbnail-item, #runs .grid-container button").nth(1).click()
    frame = page.frame_locator("#viewer iframe >> nth=0")
    frame.locator(".attention-heatmap-prompt").wait_for()
    page.wait_for_timeout(1000)
    assert frame.locator("h1").inner_text() == "a (red:1.2) circle <b>&amp; 🐈"
    changed = "a (red:1.2) (circle:1.1) <b>&amp; 🐈"
    assert frame.locator(".attention-heatmap-prompt").input_value() == changed, "the field is the page's prompt"


def test_a_setting_that_does_not_fit_is_told(page: Any) -> None:
    page.locator("#model textarea").fill("no such model")
    press_generate(page)
    page.locator("#viewer p", has_text="no such model").first.wait_for(timeout=60_000)


def test_an_interruption_keeps_what_was_made_and_the_next_run_is_as_ever() -> None:
    session, settings = Session(), GenerationSettings("a red circle", steps=8, guidance_scale=5.0)
    seen: list[int] = []

    def interrupt_at_the_third_step(done: int, total: int) -> None:
        seen.append(done)
        if done == 3:
            session.interrupt()

    page, _ = session.run("embedded", settings, interrupt_at_the_third_step)
    assert seen == [1, 2, 3] and len(session.runs) == 1
    assert "the maps cover only the first 3 of 8 model calls" in page
    page, reasons = session.run("embedded", settings, lambda done, total: None)
    assert "attentionHeatmap.viewer.mount" in page and reasons == [] and "interrupted" not in page
    assert len(session.runs) == len(session.pages) == 2
