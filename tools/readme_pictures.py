"""Makes all pictures of README and docs anew: `WEBUI_DIR=… python -m tools.readme_pictures docs`.

grid.png is the command line's, samples.jpg `tools.sample_sheet`'s; panel.jpg, viewer.jpg, loop.webp, study.jpg are of a
real WebUI.

Needs Debian's chromium and playwright, as the tests in tests/real_webui do.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import sync_playwright

import daam
from daam.hosts.diffusers_models import EMBEDDED_GUIDANCE_SCALE
from daam.results.drawing import draw
from tests.real_webui.rows import SMALL
from tests.real_webui.server import Server, make_checkpoints, pictures
from tests.real_webui.test_browser import Page
from tools.sample_sheet import write_samples

PROMPT = "a red circle and a blue square on a white background"
QUALITY = 88
FRAME_WIDTH = 640
HOLD = 900
"""Milliseconds of a frame."""


def panel_and_viewer(server: Server, folder: Path, seed: int) -> None:
    """panel.jpg, viewer.jpg and loop.webp: point at words, select one, weaken it, generate, compare."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = Page(browser, server)
        page.open_panel()
        page.fill("#{tab}_prompt textarea", PROMPT)
        page.fill("#{tab}_seed input", str(seed))
        page.fill("#{tab}_steps input[type=number]", "20")
        page.generate()
        viewer = page["#{tab}_attention_heatmap_result[data-ready=true]"]
        viewer.wait_for()
        page.page.wait_for_timeout(1500)
        save(page.page.screenshot(clip={"x": 0, "y": 90, "width": 1280, "height": 1310}), folder / "panel.jpg")
        frames = [frame(viewer)]
        for word in ("red", "circle", "blue", "square"):
            chip(viewer, word).hover()
            frames.append(frame(viewer))
        chip(viewer, "blue").click()
        viewer.page.mouse.move(3, 3)
        save(viewer.screenshot(), folder / "viewer.jpg")
        for _ in range(3):
            page.act(viewer, "−")
            frames.append(frame(viewer))
        page.act(viewer, "Generate")
        viewer.locator(".attention-heatmap-change:text-matches('.')").first.wait_for(timeout=120_000)
        frames.append(frame(viewer))
        page.act(viewer, "Compare")
        viewer.page.mouse.move(3, 3)
        frames += [frame(viewer)] * 2
        tallest = max(shot.height for shot in frames)
        frames = [ImageOps.pad(shot, (shot.width, tallest), color="white", centering=(0, 0)) for shot in frames]
        frames[0].save(folder / "loop.webp", save_all=True, append_images=frames[1:], duration=HOLD, loop=0, quality=70)
        browser.close()


def chip(viewer: Any, word: str) -> Any:
    return viewer.locator(".attention-heatmap-chip", has_text=word).first


def frame(viewer: Any) -> Image.Image:
    viewer.page.wait_for_timeout(250)
    image = Image.open(io.BytesIO(viewer.screenshot())).convert("RGB")
    return image.resize((FRAME_WIDTH, round(image.height * FRAME_WIDTH / image.width)), Image.Resampling.LANCZOS)


def save(shot: bytes, path: Path) -> None:
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, quality=QUALITY)


def study(server: Server, folder: Path, seed: int) -> None:
    """study.jpg: the grid of the Script dropdown's study."""
    payload = {
        "prompt": PROMPT, **SMALL, "steps": 20, "seed": seed, "script_name": "Attention Heatmap: study",
        "script_args": ["circle, blue square", "0.6, 1.4", True],
        "alwayson_scripts": {"Attention Heatmap": {"args": [False, "", 0.5, True, "Auto", 1.5]}},
    }  # fmt: skip
    pictures(server.post("/sdapi/v1/txt2img", payload))[0].save(folder / "study.jpg", quality=QUALITY)


def grid(folder: Path, seed: int) -> None:
    """grid.png: what the command line writes."""
    settings = daam.GenerationSettings(PROMPT, seed=seed, guidance_scale=EMBEDDED_GUIDANCE_SCALE)
    draw(daam.generate(daam.load_pipeline(), settings)).grid.save(folder / "grid.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    webui = Path(os.environ["WEBUI_DIR"]).resolve()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        make_checkpoints(webui, data)
        checkpoint = data / "models" / "Stable-diffusion" / "embedded.safetensors"
        with Server(webui, data, "--ckpt", str(checkpoint)) as server:
            grid(options.folder, options.seed)
            write_samples(options.folder / "samples.jpg")
            study(server, options.folder, options.seed)
            panel_and_viewer(server, options.folder, options.seed)


if __name__ == "__main__":
    main()
