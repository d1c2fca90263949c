"""Measures how smoothly the viewer follows the pointer: 75 words at 64x64 over a 1024x1024 picture, in a real browser.

    python -m benchmarks.viewer_frames

The pointer moves over the words, then over the picture, where each move ranks the words. Printed are the times between
frames as the browser counts them: 60 frames a second are 16.7 ms. Needs Chromium and playwright (the extra `test`).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import machine
from daam.hosts.diffusers_models import EMBEDDED, load_pipeline
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.typed_words import word_columns
from daam.results.result import Result
from daam.results.viewer.page import report_html
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.text_maps import TextMaps

WORDS = 75
MAP_SIDES = (64, 32, 16, 8)
COUNT_FRAMES = """() => {
    window.frames_at = [];
    const see = (time) => { window.frames_at.push(time); window.counting = requestAnimationFrame(see); };
    window.counting = requestAnimationFrame(see);
}"""
STOP = "() => { cancelAnimationFrame(window.counting); return window.frames_at; }"


def many_words(size: int, words: int = WORDS) -> tuple[Image.Image, ImageTrace]:
    """A picture and a trace of so many words, each with maps of every size of Stable Diffusion 1; random numbers."""
    generator = np.random.default_rng(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    prompt = " ".join(f"{first}{second}" for first in letters for second in letters)[: 3 * words - 1]
    table = parse_prompt(prompt, ClipTokenizer.from_transformers(load_pipeline(EMBEDDED).tokenizer))
    columns = word_columns(table.parts[0].schedule[0])
    text = TracedText(TextKey(0, "positive"), columns)
    sums = {f"layer {side}": smooth(generator, len(columns), side) for side in MAP_SIDES}
    heads = dict.fromkeys(sums, 8)
    maps = replace(TextMaps(text), sums=sums, counts=dict.fromkeys(sums, 1), heads=heads)
    colours = Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8))
    picture = colours.resize((size, size), Image.Resampling.BICUBIC)
    return picture, ImageTrace((size, size), table, None, {text.key: maps}, 1)


def smooth(generator: np.random.Generator, count: int, side: int) -> torch.Tensor:
    small = torch.from_numpy(generator.random((1, count, 6, 6), np.float32))
    return torch.nn.functional.interpolate(small, (side, side), mode="bicubic")[0].clamp(min=0)


def intervals(page: Any, move: Any, moves: int) -> list[float]:
    """Milliseconds between frames while the pointer makes so many moves."""
    page.evaluate(COUNT_FRAMES)
    for number in range(moves):
        move(number)
    times = page.evaluate(STOP)
    return [after - before for before, after in zip(times, times[1:])]


def measure(page: Any, moves: int) -> dict[str, list[float]]:
    """Times between frames while the pointer is on the words, and while it is on the picture."""
    page.wait_for_selector("[data-ready=true]")
    page.wait_for_timeout(3000)  # the maps are made while the page is idle
    chips = [each.bounding_box() for each in page.locator(".attention-heatmap-chip").all()]
    stage = page.locator(".attention-heatmap-stage").bounding_box()

    def over_words(number: int) -> None:
        chip = chips[number % len(chips)]
        page.mouse.move(chip["x"] + 5, chip["y"] + 5)

    def over_picture(number: int) -> None:
        place = (number % 50) / 50
        page.mouse.move(stage["x"] + place * stage["width"], stage["y"] + place * stage["height"])

    return {"words": intervals(page, over_words, moves), "picture": intervals(page, over_picture, moves)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--moves", type=int, default=200)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    picture, trace = many_words(options.size)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(report_html(Result([picture], [trace])), "utf-8")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 2400})
        page.goto(file.as_uri())
        page.add_style_tag(
            content=f"main {{ max-width: none }} .attention-heatmap-stage {{ flex: 0 0 {options.size}px }}"
        )
        print(f"{WORDS} words, {options.size}x{options.size}, Chromium {browser.version} without a GPU; {machine()}")
        for name, times in measure(page, options.moves).items():
            times.sort()
            late = sum(time > 1.5 * 1000 / 60 for time in times) / len(times)
            print(f"over the {name}: median {statistics.median(times):.1f} ms between frames, "
                  f"95 % below {times[int(0.95 * len(times))]:.1f} ms, {late:.0%} late")  # fmt: skip


if __name__ == "__main__":
    main()
