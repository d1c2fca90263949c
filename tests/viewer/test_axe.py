"""Axe finds nothing in the report's page and in `daam ui`; skipped where npm cannot fetch axe-core.

The panel and the viewer in the WebUI: tests/real_webui/test_browser.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import daam
from daam.results.viewer.page import report_html
from tests.axe import fetched, violations
from tests.opened_app import opened_app, press_generate

GRADIOS = {"aria-prohibited-attr": ".empty", "color-contrast": "footer", "image-redundant-alt": "footer, #runs"}
"""By rule where Gradio's own parts break it, which we do not make: the sign of an empty gallery or file, the pale links
at the foot of its page and their icons, and the gallery's thumbnails, whose caption is their text too."""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = daam.GenerationSettings("a red circle", negative="ugly", steps=3, guidance_scale=5.0)
    file = tmp_path_factory.mktemp("axe-page") / "report.html"
    result = daam.generate(daam.load_pipeline(), settings, keep="steps", probe="star")
    file.write_text(report_html(result), "utf-8")
    return file


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_is_without_violations_in_every_state(browser: Any, axe: Path, report: Path, theme: str) -> None:
    page = browser.new_page(color_scheme=theme)
    page.goto(report.as_uri())
    page.wait_for_selector("[data-ready=true]")
    assert violations(page, axe) == []
    page.locator(".attention-heatmap-chip").nth(1).click()
    page.locator(".attention-heatmap-chip").nth(2).click(modifiers=["Control"])
    page.locator(".attention-heatmap-look summary").click()
    page.locator(".attention-heatmap-look select").last.select_option("apart")
    page.locator(".attention-heatmap-menu summary").click()
    assert violations(page, axe) == []
    page.close()


def test_the_page_of_daam_ui_is_without_violations_before_and_after_a_run(browser: Any, axe: Path) -> None:
    gradio = pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    if int(gradio.__version__.split(".")[0]) < 6:
        pytest.skip(f"gradio {gradio.__version__}: its own colours and fields break more rules than ours could")
    with opened_app(browser) as page:
        assert violations(page, axe, known=GRADIOS) == []
        page.fill("#steps input[type=number]", "3")
        press_generate(page)
        page.wait_for_selector("#viewer iframe", timeout=120_000)
        page.wait_for_timeout(2000)
        assert violations(page, axe, known=GRADIOS) == []
