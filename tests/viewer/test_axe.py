"""Axe finds nothing in the report's page and in `daam ui`; skipped where npm cannot fetch axe-core."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import daam
from daam.results.viewer.page import report_html
from tests.opened_app import opened_app


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-save", "--silent", "--prefix", str(folder), "axe-core@4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip(f"npm cannot fetch axe-core: {done.stderr.strip()[-200:]}")
    return script


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = daam.GenerationSettings("a red circle", negative="ugly", steps=3, guidance_scale=5.0)
    file = tmp_path_factory.mktemp("axe-page") / "report.html"
    result = daam.generate(daam.load_pipeline(), settings, keep="steps", probe="star")
    file.write_text(report_html(result), "utf-8")
    return file


def violations(page: Any, axe: Path, within: str | None = None) -> list[str]:
    page.add_script_tag(path=axe)
    found = page.evaluate("within => axe.run(within || document)", within)["violations"]
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]


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


def test_the_page_of_daam_ui_is_without_violations_of_ours(browser: Any, axe: Path) -> None:
    """Gradio's own parts break a rule or two (orange button, hints, thumbnails); ours are the boxes' names."""
    with opened_app(browser) as page:
        for part in ("#prompt", "#negative", "#width", "#height", "#seed", "#model", "#interrupt"):
            assert violations(page, axe, part) == [], part
