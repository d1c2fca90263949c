"""The panel in a real browser. Set SCREENSHOTS to a folder to keep what it looked like."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from daam.results.settings import SETTINGS
from tests.axe import fetched, violations
from tests.real_webui.server import Server
from tests.real_webui.webuis import PAGE

GRADIOS = {
    "label": "[id$=-visible-checkbox], .gradio-slider input",
    "aria-allowed-role": ".gradio-dropdown input[role=listbox]",
    "nested-interactive": ".input-accordion > button.label-wrap",
}
"""By rule the parts in our panel that break it and that we do not make: the switch of the WebUI's accordion, which has
no label and, with Gradio 4.40, stands in a button, as in that of hires fix; the number and the bar of the sliders of
Gradio 3.41; and what is typed into in the dropdowns of Gradio 4.40, as in a page with a dropdown alone."""
PROMPT = "a (red:1.2) circle and a blue square on a white background"


class Page:
    """The WebUI's page with the panel of one tab.

    Attributes:
        side: of the pictures that it makes, in pixels; the smallest UNet that the Forges load is not small.
    """

    def __init__(self, browser: Any, server: Server, theme: str = "light", tab: str = "txt2img"):
        server.needs(PAGE)
        self.tab = tab
        self.side, self.steps = (64, 4) if server.kind.is_forge else (128, 8)
        self.errors: list[str] = []
        self.page = browser.new_page(viewport={"width": 1280, "height": 1400})
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{server.url}/?__theme={theme}", wait_until="load")
        self.page.wait_for_selector("#txt2img_prompt textarea", timeout=60_000)
        self.page.wait_for_timeout(2000)
        if tab != "txt2img":
            self.page.click(f"#tabs button:has-text('{tab}')")
        self.fill("#{tab}_prompt textarea", PROMPT)
        self.fill_size()
        for name, value in (("steps", str(self.steps)), ("cfg_scale", "5")):
            self.fill(f"#{{tab}}_{name} input[type=number]", value)
        self.fill("#{tab}_seed input", "1")

    def __getitem__(self, selector: str) -> Any:
        return self.page.locator(selector.replace("{tab}", self.tab))

    def fill(self, selector: str, value: str) -> None:
        self[selector].fill(value)
        self[selector].press("Tab")

    def fill_size(self) -> None:
        for name in ("width", "height"):
            self.fill(f"#{{tab}}_{name} input[type=number]", str(self.side))

    def open_panel(self) -> None:
        self["#{tab}_attention_heatmap > .label-wrap"].click()
        self["#{tab}_attention_heatmap_terms textarea"].wait_for(state="visible")

    def open_fold(self) -> None:
        """What most people never touch."""
        self["#{tab}_attention_heatmap_more > .label-wrap"].click()
        self["#{tab}_attention_heatmap_keep_steps input"].wait_for(state="visible")

    def generate(self) -> list[str]:
        """Addresses of the pictures in the gallery."""
        box = f"#generation_info_{self.tab} textarea"
        before = self.page.locator(box).input_value()
        self["#{tab}_generate"].click()
        changed = "([box, before]) => gradioApp().querySelector(box).value !== before"
        self.page.wait_for_function(changed, arg=[box, before], timeout=120_000)
        self["#{tab}_gallery .thumbnails img, #{tab}_gallery .grid-container img"].first.wait_for()
        self.page.wait_for_timeout(1000)
        thumbnails = self["#{tab}_gallery .thumbnail-item img"]
        found = [thumbnails.nth(number).get_attribute("src") for number in range(thumbnails.count())]
        return list(dict.fromkeys(found))  # the large view has a second strip of them

    def viewer(self) -> Any:
        """The viewer under the gallery, when it is ready."""
        found = self["#{tab}_attention_heatmap_result[data-ready=true]"]
        found.wait_for()
        return found

    def act(self, viewer: Any, name: str) -> None:
        """Presses a button of the viewer, out of its menu where it is in one."""
        found = viewer.locator(f"button.attention-heatmap-action:text-is('{name}')")
        if not found.is_visible():
            viewer.locator(".attention-heatmap-menu summary").click()
        found.click()

    def said(self, where: str) -> str:
        """What stands under the gallery: "log" or "info". Gradio 3 gives a block and what is in it one id."""
        return str(self[f"#html_{where}_{{tab}}"].last.inner_text())

    def choose(self, dropdown: str, value: str) -> None:
        """Of the options that an opened dropdown shows; Gradio 4 names them in another way than 3."""
        self[
            f"{dropdown} ul.options li[data-value='{value}' i], {dropdown} ul.options li[aria-label='{value}' i]"
        ].click()

    def screenshot(self, name: str) -> None:
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def wait_for_answer(url: str, seconds: int = 120) -> None:
    """Until a server that was told to reload its page is there again."""
    for _ in range(seconds):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=10).close()
            return
        time.sleep(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_open_the_panel_fill_it_and_generate(browser: Any, server: Server, theme: str) -> None:
    page = Page(browser, server, theme)
    page.open_panel()
    page["#{tab}_attention_heatmap_fill"].click()
    page.page.wait_for_function("gradioApp().querySelector('#txt2img_attention_heatmap_terms textarea').value")
    terms = page["#{tab}_attention_heatmap_terms textarea"].input_value()
    assert terms == "a, red, circle, and, blue, square, on, white, background"
    page.fill("#{tab}_attention_heatmap_terms textarea", "red, circle, blue, square, background, unicorn")
    assert len(page.generate()) == 2
    assert "'unicorn' is not in the prompt" in page.said("log")
    page["#{tab}_gallery .thumbnail-item"].nth(1).click()
    page.page.wait_for_timeout(1000)
    page.screenshot(f"panel-{theme}")
    page.page.close()


def test_every_control_is_there_with_its_label_and_tooltip(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    for setting in SETTINGS[1:]:
        found = page[f"#{{tab}}_attention_heatmap_{setting.name}"]
        assert found.count() == 1, setting.name
        assert setting.label in found.inner_text()
        titled = found.evaluate("e => (e.title || '') + [...e.querySelectorAll('[title]')].map(x => x.title).join(' ')")
        assert setting.help.split(".")[0] in titled, setting.name
    page.page.close()


def test_sliders_and_dropdowns_act(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.fill("#{tab}_attention_heatmap_terms textarea", "red")
    first = page.generate()
    page.fill("#{tab}_attention_heatmap_alpha input[type=number]", "0.9")
    page.open_fold()
    page["#{tab}_attention_heatmap_use_grid input"].uncheck()
    page["#{tab}_attention_heatmap_colormap input"].click()
    page.choose("#{tab}_attention_heatmap_colormap", "viridis")
    second = page.generate()
    assert len(first) == len(second) == 2
    infotext = page.said("info")
    assert "Heatmap alpha: 0.9" in infotext and "Heatmap colormap: viridis" in infotext and "grid: False" in infotext
    page.page.close()


def test_img2img_has_the_panel_too_and_a_sent_picture_restores_it(browser: Any, server: Server, tmp_path: Path) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.fill("#{tab}_attention_heatmap_terms textarea", "red, square")
    page.fill("#{tab}_attention_heatmap_alpha input[type=number]", "0.75")
    page.generate()
    page["#{tab}_gallery .thumbnail-item"].first.click()
    page["#{tab}_send_to_img2img"].click()
    page.page.wait_for_timeout(2500)
    page.tab = "img2img"
    assert page["#{tab}_attention_heatmap_terms textarea"].input_value() == "red, square"
    assert page["#{tab}_attention_heatmap_alpha input[type=number]"].input_value() == "0.75"
    page.fill_size()
    assert len(page.generate()) == 2
    page.screenshot("panel-img2img")
    page.page.close()


def test_what_there_is_to_say_stands_under_a_scripts_pictures_too(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.generate()
    page["#{tab}_gallery .thumbnail-item"].first.click()
    page["#{tab}_send_to_img2img"].click()
    page.page.wait_for_timeout(2500)
    page.tab = "img2img"
    page.fill_size()
    page.open_panel()
    page.fill("#{tab}_attention_heatmap_terms textarea", "red, unicorn")
    page["#{tab}_script_container #script_list input"].click()
    page.choose("#{tab}_script_container #script_list", "Loopback")
    page.generate()
    log = page.said("log")
    assert log.count("'unicorn' is not in the prompt") == 1 and log.count("saving is off for them too") == 1
    page.page.close()


def test_after_reload_ui_it_works_as_before(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.page.click("#footer >> text=Reload UI")
    page.page.wait_for_timeout(5000)
    page.page.close()
    wait_for_answer(server.url)
    again = Page(browser, server)
    again.open_panel()
    again.fill("#{tab}_attention_heatmap_terms textarea", "red")
    assert len(again.generate()) == 2
    again.viewer()
    assert server.get("/bench/left")["hooks"] == 0
    again.page.close()


def test_with_the_panel_off_the_page_asks_nothing_of_us(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    assert len(page.generate()) == 1
    assert asked and not [url for url in asked if "attention-heatmap/v1" in url]
    page.page.close()


def test_the_viewer_stands_under_the_gallery_and_acts_on_the_page(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.fill("#{tab}_batch_size input[type=number]", "2")
    page.generate()
    viewer = page.viewer()
    assert viewer.locator(".attention-heatmap-chip-text").all_inner_texts()[:3] == ["a", "red", "circle"]
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    page.act(viewer, "+")
    changed = page["#{tab}_prompt textarea"].input_value()
    assert changed == "a (red:1.2) (circle:1.1) and a blue square on a white background"
    page.act(viewer, "Use as terms")
    assert page["#{tab}_attention_heatmap_terms textarea"].input_value() == "circle"
    viewer.scroll_into_view_if_needed()
    page.screenshot("viewer")
    first = viewer.locator(".attention-heatmap-stage img").get_attribute("src")
    page["#{tab}_gallery .thumbnail-item"].nth(2).click()
    page["#{tab}_gallery .thumbnails .thumbnail-item"].nth(2).click()
    page.page.wait_for_timeout(2500)
    assert page["#{tab}_attention_heatmap_result .attention-heatmap-stage img"].get_attribute("src") != first
    assert not [error for error in page.errors if "attention" in error.lower()]
    page.page.close()


def test_the_loop_three_times_with_what_is_looked_at_living_on(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.generate()
    viewer = page.viewer()
    info = "#generation_info_txt2img textarea"
    for number in range(3):
        chip = viewer.locator(".attention-heatmap-chip", has_text="circle").first
        if number == 0:
            chip.click()
        assert chip.get_attribute("aria-pressed") == "true"
        chip.focus()
        page.page.keyboard.press("-")
        before = page.page.locator(info).input_value()
        page.page.keyboard.press("Control+Enter")
        changed = "([box, before]) => gradioApp().querySelector(box).value !== before"
        page.page.wait_for_function(changed, arg=[info, before], timeout=120_000)
        viewer.locator(".attention-heatmap-change:text-matches('.')").first.wait_for()
    page.page.wait_for_timeout(1000)
    assert "(circle:0.7)" in page["#{tab}_prompt textarea"].input_value()
    page.act(viewer, "Compare")
    assert viewer.locator(".attention-heatmap-pictures img").count() == 2
    assert "→" in viewer.locator(".attention-heatmap-legend").inner_text()
    viewer.scroll_into_view_if_needed()
    page.screenshot("viewer-compare")
    for expected in ("(circle:0.8)", "(circle:0.9)", " circle "):
        page.act(viewer, "Undo")
        page.page.wait_for_timeout(300)
        assert expected in page["#{tab}_prompt textarea"].input_value()
    page.page.close()


def test_a_mask_is_sent_to_inpaint(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.generate()
    viewer = page.viewer()
    page.page.set_viewport_size({"width": 1366, "height": 768})
    page.fill("#{tab}_prompt textarea", "typed since")
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    page.act(viewer, "Send mask to inpaint")
    for name in ("img_inpaint_base", "img_inpaint_mask"):
        shown = page[f"#{name} img"].first
        shown.wait_for()
        assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [page.side] * 2
    inside = "each => each.getBoundingClientRect().top >= 0 && each.getBoundingClientRect().bottom <= innerHeight"
    assert shown.evaluate(inside), "the mask is where the user looks"
    assert page["#img2img_prompt textarea"].input_value() == PROMPT, "what the picture was made with"
    assert page["#img2img_seed input"].input_value() == "1"
    assert page["#img2img_width input[type=number]"].input_value() == str(page.side)
    page.page.close()


def test_what_was_typed_since_the_generation_is_kept(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.generate()
    viewer = page.viewer()
    page.fill("#{tab}_prompt textarea", f"{PROMPT}, at night")
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    page.act(viewer, "Remove")
    assert (
        page["#{tab}_prompt textarea"].input_value() == "a (red:1.2) and a blue square on a white background, at night"
    )
    page.act(viewer, "Restore")
    assert page["#{tab}_prompt textarea"].input_value() == f"{PROMPT}, at night"
    page.fill("#{tab}_prompt textarea", "a dog")
    page.act(viewer, "+")
    assert page["#{tab}_prompt textarea"].input_value() == "a dog"
    assert "is not in the prompt any more" in viewer.locator(".attention-heatmap-message").inner_text()
    page.page.close()


def test_the_viewer_stays_through_tabs_and_plays_kept_steps(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.open_fold()
    page["#{tab}_attention_heatmap_keep_steps input"].check()
    page.fill("#{tab}_attention_heatmap_terms textarea", "red circle, square")
    page.generate()
    viewer = page.viewer()
    viewer.locator(".attention-heatmap-chip", has_text="red").first.click()
    viewer.locator(".attention-heatmap-chip", has_text="square").first.click(modifiers=["Control"])
    viewer.locator(".attention-heatmap-look summary").click()
    viewer.locator("select").last.select_option("apart")
    viewer.locator(".attention-heatmap-multiple").nth(1).wait_for()
    page.act(viewer, "Play")
    viewer.locator(f".attention-heatmap-step:text-is('{page.steps} of {page.steps}')").wait_for()
    page.act(viewer, "Pause")
    viewer.scroll_into_view_if_needed()
    page.screenshot("viewer-steps")
    page.page.click("#tabs button:has-text('img2img')")
    page.page.wait_for_timeout(1000)
    page.page.click("#tabs button:has-text('txt2img')")
    page.page.wait_for_timeout(1000)
    assert viewer.is_visible() and viewer.locator(".attention-heatmap-multiple").count() == 2
    page.page.close()


def test_with_hires_fix_the_viewer_has_the_large_picture(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page["#{tab}_hr > .label-wrap"].click()
    page.fill("#{tab}_hr_scale input[type=number]", "2")
    page.open_panel()
    assert len(page.generate()) == 2
    shown = page.viewer().locator(".attention-heatmap-stage img")
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [2 * page.side] * 2
    labels = page.viewer().locator(".attention-heatmap-label").all_inner_texts()
    assert labels[:2] == ["Prompt, first pass", "Prompt, hires pass"]
    numbers: dict[str, list[tuple[str, str]]] = {"first": [], "hires": []}  # each pass has strengths of its own
    for row in page.viewer().locator(".attention-heatmap-list li").all():
        name, number = (row.locator(f".attention-heatmap-{part}").inner_text() for part in ("list-name", "number"))
        word, _, shown = name.partition(" · ")
        numbers[shown.split()[0]].append((word, number))
    assert len(numbers["first"]) == len(numbers["hires"]) and sorted(numbers["first"]) != sorted(numbers["hires"])
    page.page.close()


def test_a_report_is_saved_that_needs_no_webui(browser: Any, server: Server, tmp_path: Path) -> None:
    page = Page(browser, server)
    page.open_panel()
    page.generate()
    with page.page.expect_download() as download:
        page.act(page.viewer(), "Save report")
    report = tmp_path / download.value.suggested_filename
    download.value.save_as(report)
    page.page.close()
    opened = browser.new_page()
    opened.goto(report.as_uri())
    opened.wait_for_selector("[data-ready=true]")
    assert opened.locator(".attention-heatmap-prompt").input_value() == PROMPT
    opened.close()


def test_an_earlier_pictures_maps_come_back_from_its_record(browser: Any, server: Server, tmp_path: Path) -> None:
    option = "attention_heatmap_keep_records"
    server.post("/sdapi/v1/options", {option: True})
    page = Page(browser, server)
    page.open_panel()
    before = set(server.data.rglob("*.heatmaps.safetensors"))
    page.generate()
    server.post("/sdapi/v1/options", {option: False})
    (record,) = set(server.data.rglob("*.heatmaps.safetensors")) - before
    picture = next(record.parent.glob(f"{record.name.split('.')[0]}.*g"))
    page.page.close()
    page = Page(browser, server)
    page.open_panel()
    page["#{tab}_attention_heatmap_earlier .label-wrap"].click()
    box = page["#{tab}_attention_heatmap_earlier_file input[type=file]"]
    box.set_input_files(picture)
    viewer = page["#{tab}_attention_heatmap_earlier_viewer[data-ready=true]"]
    viewer.wait_for()
    assert viewer.locator(".attention-heatmap-chip-text").all_inner_texts()[:3] == ["a", "red", "circle"]
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    page.act(viewer, "+")
    assert "(circle:1.1)" in page["#{tab}_prompt textarea"].input_value()
    viewer.scroll_into_view_if_needed()
    page.screenshot("earlier")
    page["#{tab}_attention_heatmap_earlier_file button[aria-label=Clear]"].click()
    viewer.wait_for(state="detached")
    other = tmp_path / picture.name
    Image.new("RGB", (128, 128), "red").save(other)
    box.set_input_files(other)
    message = page["#{tab}_attention_heatmap_earlier_message"]
    message.locator("text=No record was kept").wait_for()
    page.page.close()


def test_img2img_batch_from_a_directory(browser: Any, server: Server, tmp_path: Path) -> None:
    given, first, plain, traced = (tmp_path / name for name in ("given", "first", "plain", "traced"))
    given.mkdir()
    for name, colour in (("one", "red"), ("two", "blue")):
        Image.new("RGB", (128, 128), colour).save(given / f"{name}.png")
    for folder in (first, plain, traced):  # the WebUI's first picture of a batch differs a little from later ones
        page = Page(browser, server, tab="img2img")
        page.page.click("#mode_img2img button:text-is('Batch')")
        source = page["#img2img_batch_source button:text-is('From directory')"]
        if source.count():  # where pictures can be sent to a batch too
            source.click()
        page.fill("#img2img_batch_input_dir textarea", str(given))
        page.fill("#img2img_batch_output_dir textarea", str(folder))
        if folder == traced:
            page.open_panel()
            page.fill("#{tab}_attention_heatmap_terms textarea", "red, square")
        shown = page.generate()
        page.page.close()
    assert len(shown) == 4, shown
    names = sorted(path.name for path in plain.iterdir())
    assert len(names) == 2 and names == sorted(path.name for path in traced.iterdir())
    for name in names:  # Forge writes infotexts, which say that there are maps, into the last bits of the alpha channel
        with Image.open(plain / name) as without, Image.open(traced / name) as with_maps:
            assert without.convert("RGB").tobytes() == with_maps.convert("RGB").tobytes()
    assert server.get("/bench/left")["hooks"] == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_viewer_and_nothing_of_ours_in_the_panel(
    browser: Any, server: Server, tmp_path: Path, theme: str
) -> None:
    script = fetched(tmp_path)
    page = Page(browser, server, theme)
    page.open_panel()
    page.open_fold()
    page.generate()
    viewer = page.viewer()
    assert violations(page.page, script, "#txt2img_attention_heatmap_result") == []
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    viewer.locator(".attention-heatmap-look summary").click()
    viewer.locator(".attention-heatmap-menu summary").click()
    assert violations(page.page, script, "#txt2img_attention_heatmap_result") == []
    assert violations(page.page, script, "#txt2img_attention_heatmap", known=GRADIOS) == []
    page.page.close()


def test_the_viewer_follows_the_cells_of_a_plot(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    errors: list[str] = []
    page.page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.open_panel()
    page["#{tab}_script_container #script_list input"].click()
    page.choose("#{tab}_script_container #script_list", "X/Y/Z plot")
    page.page.wait_for_timeout(2000)
    page["#script_{tab}_xyz_plot_x_type input"].click()
    page.choose("#script_{tab}_xyz_plot_x_type", "Prompt S/R")
    page.page.wait_for_timeout(1500)
    page.fill("#script_{tab}_xyz_plot_x_values textarea", "circle, star")
    page["#{tab}_script_container label:has-text('Include Sub Images') input"].check()
    assert len(page.generate()) == 3
    page["#{tab}_gallery .thumbnail-item"].nth(1).click()
    for number, word in ((1, "circle"), (2, "star"), (1, "circle")):
        page["#{tab}_gallery .thumbnails .thumbnail-item"].nth(number).click()
        shown = page["#{tab}_attention_heatmap_result .attention-heatmap-chip-text"]
        shown.filter(has_text=word).first.wait_for()
    assert not [error for error in errors if "attention-heatmap" in error or "404" in error], errors
    page.page.close()
