"""The viewer under a gallery as gradio builds it: 3.41 in A1111's WebUI, 4.40 in Forge; whichever version is installed.

The page has the elements that both WebUIs name, the scripts are ours, and the routes are answered here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")

import gradio

import daam
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.terms import every_word
from daam.results.drawing_settings import DrawingSettings
from daam.results.viewer.data import prompt_frames, viewer_data
from tests.places import TOKENIZER

SCRIPTS = Path(__file__).parents[2] / "javascript"
PROMPT = "a red circle"
WEBUI = """
window.gradioApp = () => document;
window.updateInput = (box) => box.dispatchEvent(new Event("input", {bubbles: true}));
window.onAfterUiUpdate = (update) => setInterval(update, 200);
"""
"""What both WebUIs offer to the scripts of extensions."""


@pytest.fixture(scope="module")
def answers() -> list[str]:
    """The route's answer for each of two pictures."""
    settings = daam.GenerationSettings(PROMPT, batch_size=2, seed=1, steps=2, guidance_scale=5.0)
    result = daam.generate(daam.load_pipeline(), settings)
    return [
        json.dumps({**viewer_data(*each, DrawingSettings()), "result": {"id": "one", "image": number}})
        for number, each in enumerate(result.pairs)
    ]


def read_typed(page: Any, route: Any) -> None:
    """As the WebUI's route answers, a little later."""
    typed = json.loads(route.request.post_data)["prompt"]
    page.asked.append(typed)
    table = parse_prompt(typed, ClipTokenizer.from_folder(TOKENIZER))
    terms = [term.quoted for term in every_word(table)]
    time.sleep(0.3)
    route.fulfill(json={"prompt": typed, "terms": terms, "frames": prompt_frames(table).to_data()})


@pytest.fixture
def page(browser: Any, answers: list[str]) -> Iterator[Any]:
    """The page after "Generate" gave a grid and two pictures; `asked` has the routes that were called."""
    made: list[str] = []

    def generate(with_maps: bool) -> tuple[list[Any], str]:
        pictures = [Image.new("RGB", (64, 64), colour) for colour in ("white", "red", "blue")]
        made.append(f"some-id-{len(made)}")
        parameters = {"Attention Heatmap result": made[-1]} if with_maps else {}
        info = {"extra_generation_params": parameters, "index_of_first_image": 1, "all_prompts": [PROMPT] * 2}
        return pictures, json.dumps(info)

    with gradio.Blocks(analytics_enabled=False) as blocks:
        gradio.Textbox(PROMPT, elem_id="txt2img_prompt", lines=3, label="Prompt", interactive=True)
        gradio.Textbox("ugly", elem_id="txt2img_neg_prompt", lines=2, label="Negative prompt", interactive=True)
        gradio.Textbox("", elem_id="txt2img_attention_heatmap_terms", label="Terms", interactive=True)
        with_maps = gradio.Checkbox(True, elem_id="with_maps", label="With maps")
        button = gradio.Button("Generate", elem_id="txt2img_generate")
        with gradio.Column(elem_id="txt2img_results"):
            gallery = gradio.Gallery(elem_id="txt2img_gallery", columns=4, preview=True, label="Output")
            box = gradio.Textbox("", elem_id="generation_info_txt2img", label="Info", lines=2)
        button.click(generate, inputs=[with_maps], outputs=[gallery, box])
    blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False)
    opened = browser.new_page(viewport={"width": 1200, "height": 1600})
    opened.asked, errors = [], []
    opened.on("pageerror", lambda error: errors.append(str(error)))

    def answer(route: Any) -> None:
        opened.asked.append(route.request.url)
        route.fulfill(body=answers[int(route.request.url[-1])], content_type="application/json")

    opened.route("**/attention-heatmap/v1/results/some-id-*/viewer/*", answer)
    opened.route("**/attention-heatmap/v1/frames", lambda route: read_typed(opened, route))
    opened.goto(blocks.local_url)
    opened.wait_for_selector("#txt2img_generate")
    opened.add_style_tag(path=SCRIPTS.parent / "style.css")
    opened.add_script_tag(content=WEBUI)
    for script in sorted(SCRIPTS.glob("*.js")):
        opened.add_script_tag(path=script)
    yield opened
    assert not [error for error in errors if "attention" in error.lower()], errors
    opened.close()
    blocks.close()


def test_the_viewer_follows_the_gallery_and_writes_the_prompt(page: Any, answers: list[str]) -> None:
    page.click("#txt2img_generate")
    viewer = page.locator("#txt2img_attention_heatmap_result[data-ready=true]")
    viewer.wait_for(timeout=30_000)
    shown = viewer.locator(".attention-heatmap-stage img")
    assert shown.get_attribute("src") == json.loads(answers[0])["picture"]
    page.locator("#txt2img_gallery .thumbnail-item").first.click()  # newer versions begin with a grid of all
    thumbnails = page.locator("#txt2img_gallery .thumbnails .thumbnail-item")
    thumbnails.first.wait_for()
    assert thumbnails.count() == 3, f"gradio {gradio.__version__}"
    for number, picture in ((2, 1), (1, 0), (2, 1)):
        thumbnails.nth(number).click()
        wanted = json.loads(answers[picture])["picture"]
        page.wait_for_function(
            "wanted => document.querySelector('#txt2img_results .attention-heatmap-stage img')?.src === wanted",
            arg=wanted,
        )
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    viewer.locator(".attention-heatmap-action:text-is('+')").click()
    assert page.locator("#txt2img_prompt textarea").input_value() == "a red (circle:1.1)"
    viewer.locator(".attention-heatmap-menu summary").click()
    viewer.locator(".attention-heatmap-action:text-is('Use as terms')").click()
    assert page.locator("#txt2img_attention_heatmap_terms").locator("textarea, input").first.input_value() == "circle"


def test_what_was_typed_is_read_by_the_server_and_kept(page: Any) -> None:
    page.click("#txt2img_generate")
    viewer = page.locator("#txt2img_attention_heatmap_result[data-ready=true]")
    viewer.wait_for(timeout=30_000)
    box = page.locator("#txt2img_prompt textarea")
    act = lambda name: viewer.locator(f".attention-heatmap-action:text-is('{name}')").click()  # noqa: E731
    box.fill("an [old:new:0.5] (red circle:1.2), at night")
    box.press("Tab")
    viewer.locator(".attention-heatmap-chip", has_text="circle").first.click()
    act("+")
    assert box.input_value() == "an [old:new:0.5] (red (circle:1.08):1.2), at night"
    act("Remove")
    assert box.input_value() == "an [old:new:0.5] (red:1.2), at night"
    act("Undo")
    act("Undo")
    assert box.input_value() == "an [old:new:0.5] (red circle:1.2), at night"
    assert page.asked.count("an [old:new:0.5] (red circle:1.2), at night") == 1
    box.fill("a (dog:1.3)")  # without leaving the box: the change waits for the answer
    act("+")
    viewer.locator(".attention-heatmap-message", has_text="“circle” is not in the prompt any more").wait_for()
    assert box.input_value() == "a (dog:1.3)"


def test_what_is_looked_at_lives_on_through_generate_and_the_gallery(page: Any) -> None:
    page.click("#txt2img_generate")
    viewer = page.locator("#txt2img_attention_heatmap_result[data-ready=true]")
    viewer.wait_for(timeout=30_000)
    chip = lambda word: viewer.locator(".attention-heatmap-chip", has_text=word).first  # noqa: E731
    act = lambda name: viewer.locator(f".attention-heatmap-action:text-is('{name}')").click()  # noqa: E731
    box = page.locator("#txt2img_prompt textarea")
    assert viewer.locator(".attention-heatmap-action:text-is('Compare')").count() == 0
    chip("circle").click()
    chip("red").click(modifiers=["Control"])
    colours = [chip(word).evaluate("each => each.style.cssText") for word in ("red", "circle")]
    act("−")
    viewer.locator(".attention-heatmap-controls input").first.fill("0.8")
    viewer.locator(".attention-heatmap-look summary").click()
    viewer.locator(".attention-heatmap-look select").first.select_option("viridis")
    changed = box.input_value()
    act("Generate")
    viewer.locator(".attention-heatmap-action:text-is('Compare')").wait_for(timeout=30_000)
    viewer.wait_for()
    assert [chip(word).evaluate("each => each.style.cssText") for word in ("red", "circle")] == colours
    assert viewer.locator(".attention-heatmap-controls input").first.input_value() == "0.8"
    assert viewer.locator(".attention-heatmap-look select").first.input_value() == "viridis"
    assert box.input_value() == changed
    act("Compare")
    stages = viewer.locator(".attention-heatmap-pictures .attention-heatmap-stage canvas")
    stages.nth(1).wait_for()
    assert stages.count() == 2
    page.wait_for_timeout(500)
    urls = stages.evaluate_all("all => all.map((each) => each.toDataURL())")
    assert all(len(url) > 500 for url in urls), "both pictures have maps of the selected words"
    assert "±0.0" in viewer.locator(".attention-heatmap-list").inner_text()
    act("Undo")
    act("Undo")
    viewer.locator(".attention-heatmap-action:text-is('Undo')[aria-disabled=true]").wait_for()
    assert box.input_value() == PROMPT


def test_the_viewers_field_is_the_pages_prompt(page: Any) -> None:
    page.click("#txt2img_generate")
    viewer = page.locator("#txt2img_attention_heatmap_result[data-ready=true]")
    viewer.wait_for(timeout=30_000)
    field, box = viewer.locator(".attention-heatmap-prompt"), page.locator("#txt2img_prompt textarea")
    field.fill("a red circle at night")
    assert box.input_value() == "a red circle at night"
    box.fill("a red circle by day")
    assert field.input_value() == "a red circle by day"


def test_it_says_that_it_reads_and_that_a_result_is_gone(page: Any) -> None:
    page.unroute("**/attention-heatmap/v1/results/some-id-*/viewer/*")
    waiting: list[Any] = []
    page.route("**/attention-heatmap/v1/results/some-id-*/viewer/*", lambda route: waiting.append(route))
    page.click("#txt2img_generate")
    line = page.locator("#txt2img_attention_heatmap_result .attention-heatmap-loading")
    line.wait_for(timeout=30_000)
    assert line.inner_text() == "Reading the heat maps…"
    page.wait_for_timeout(500)
    waiting[0].fulfill(status=404)
    page.locator(".attention-heatmap-loading", has_text="no longer kept").wait_for()


def test_fill_from_prompt_writes_the_words_as_the_server_reads_them(page: Any) -> None:
    page.locator("#txt2img_prompt textarea").fill("a (red:1.2) circle <lora:x:1>, a [square|star]")
    page.evaluate("attentionHeatmapFillTerms('txt2img')")
    terms = page.locator("#txt2img_attention_heatmap_terms").locator("textarea, input").first
    assert terms.input_value() == "a, red, circle, square, star"


def test_without_heat_maps_nothing_is_asked_and_an_old_viewer_goes(page: Any) -> None:
    page.locator("#with_maps input").uncheck()
    page.click("#txt2img_generate")
    page.locator("#txt2img_gallery img").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1000)
    assert page.asked == [] and page.locator(".attention-heatmap-viewer").count() == 0
    page.locator("#with_maps input").check()
    page.click("#txt2img_generate")
    page.locator(".attention-heatmap-viewer[data-ready=true]").wait_for()
    page.locator("#with_maps input").uncheck()
    page.click("#txt2img_generate")
    page.locator(".attention-heatmap-viewer").wait_for(state="detached")
    assert len(page.asked) == 1
