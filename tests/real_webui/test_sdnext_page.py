"""SD.Next's own page in a real browser, which is laid out as no other. Set SCREENSHOTS to a folder to keep its look."""

from __future__ import annotations

import io
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.real_webui.server import Server

PROMPT = "a (red:1.2) circle and a blue square"
SECONDS = 300_000
"""Its description of itself for Gradio, `/info`, is of ten megabytes and takes it half a minute of a processor."""
STILL = """document.addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "*, *::before, *::after {animation: none !important; transition: none !important}";
    document.head.append(style);
});"""
"""Without a graphics card Chromium draws what moves while the page starts on the processor, and leaves the server
little of it: what Gradio gives five seconds for, such as a click, then comes too late and is dropped."""
INFO = "#generation_info_txt2img textarea"


@pytest.fixture
def page(browser: Any, server: Server) -> Any:
    """The Text tab, ready, with a small picture to make."""
    if not server.kind.has_pipelines:
        pytest.skip("for the page of SD.Next")
    page = browser.new_page(viewport={"width": 1400, "height": 1700})
    page.set_default_timeout(SECONDS)
    page.add_init_script(STILL)
    page.goto(server.url, wait_until="load")
    page.wait_for_selector("#txt2img_prompt textarea", state="attached")
    page.wait_for_selector("#splash", state="detached")
    page.fill("#txt2img_prompt textarea", PROMPT)
    open_fold(page, "#txt2img_seed_group")
    values = {"width input[type=number]": "128", "height input[type=number]": "128", "steps input[type=number]": "8"}
    for name, value in (values | {"seed input": "1"}).items():
        page.fill(f"#txt2img_{name}", value)
        page.press(f"#txt2img_{name}", "Tab")
    yield page
    page.close()


def open_fold(page: Any, selector: str) -> None:
    """Where it is not open yet."""
    head = page.locator(f"{selector} > .label-wrap")
    if "open" not in head.get_attribute("class").split():
        head.click()


def generate(page: Any) -> list[bytes]:
    """The pictures of the gallery, as they are sent."""
    before = page.locator(INFO).input_value()
    page.click("#txt2img_generate")
    changed = "([box, before]) => document.querySelector(box).value !== before"
    page.wait_for_function(changed, arg=[INFO, before])
    page.locator("#txt2img_gallery img").first.wait_for()
    page.wait_for_timeout(1500)
    images = page.locator("#txt2img_gallery .thumbnail-item img")
    found = dict.fromkeys(images.nth(number).evaluate("image => image.src") for number in range(images.count()))
    return [urllib.request.urlopen(address).read() for address in found]


def pixels(file: bytes) -> bytes:
    """Files differ in their infotext, which says that there are maps."""
    return Image.open(io.BytesIO(file)).convert("RGB").tobytes()


def test_the_page_of_sdnext_makes_the_same_picture_with_grid_and_viewer(page: Any, server: Server) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    (plain,) = generate(page)
    open_fold(page, "#txt2img_script_alwayson")
    open_fold(page, "#txt2img_attention_heatmap")
    page.click("#txt2img_attention_heatmap_fill")
    terms = "#txt2img_attention_heatmap_terms textarea"
    page.wait_for_function(f"document.querySelector('{terms}').value")
    assert page.locator(terms).input_value() == "a, red, circle, and, blue, square"
    page.fill(terms, "red, circle, unicorn")
    page.press(terms, "Tab")
    shown = generate(page)
    assert len(shown) == 2 and pixels(shown[0]) == pixels(plain)
    assert "'unicorn' is not in the prompt" in page.locator("#html_log_txt2img").last.inner_text()
    viewer = page.locator("#txt2img_attention_heatmap_result[data-ready=true]")
    viewer.wait_for()
    assert viewer.locator(".attention-heatmap-chip-text").all_inner_texts()[:3] == ["a", "red", "circle"]
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "sdnext.png")
    viewer.locator("button.attention-heatmap-action:text-is('+')").click()
    assert page.locator("#txt2img_prompt textarea").input_value() == "a (red:1.2) (circle:1.1) and a blue square"
    assert not [error for error in errors if "attention" in error.lower()]
    assert server.get("/bench/left")["hooks"] == 0
