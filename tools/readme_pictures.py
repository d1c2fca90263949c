"""Makes the README's pictures of the WebUI, in a real one: `WEBUI_DIR=… python -m tools.readme_pictures docs`.

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

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.real_webui.rows import SMALL
from tests.real_webui.server import Server, make_checkpoints, pictures
from tests.real_webui.test_browser import Page

PROMPT = "a red circle and a blue square on a white background"
QUALITY = 88
FRAME_WIDTH = 640
HOLD = 900
"""Milliseconds of a frame."""


def panel_and_viewer(server: Server, folder: Path, seed: int) -> None:
    """panel.jpg, viewer.jpg and loop.webp: hover words, pin one, weaken it, generate again."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = Page(browser, server)
        page.open_panel()
        page.fill("#{tab}_prompt textarea", PROMPT)
        page.fill("#{tab}_seed input", str(seed))
        page.fill("#{tab}_steps input[type=number]", "20")
        page.fill("#{tab}_attention_heatmap_terms textarea", "red, circle, blue, square, background")
        page.generate()
        viewer = page["#{tab}_attention_heatmap_result[data-ready=true]"]
        viewer.wait_for()
        page["#{tab}_gallery .thumbnail-item"].nth(1).click()
        page.page.wait_for_timeout(1500)
        save(page.page.screenshot(clip={"x": 0, "y": 90, "width": 1280, "height": 1080}), folder / "panel.jpg")
        frames = [frame(viewer)]
        for word in ("red", "circle", "blue", "square"):
            chip(viewer, word).hover()
            frames.append(frame(viewer))
        chip(viewer, "blue").click()
        save(viewer.screenshot(), folder / "viewer.jpg")
        for _ in range(3):
            page.act(viewer, "−")
            frames.append(frame(viewer))
        page.generate()
        page.page.wait_for_timeout(2500)
        again = page["#{tab}_attention_heatmap_result[data-ready=true]"]
        again.wait_for()
        frames.append(frame(again))
        chip(again, "blue").hover()
        frames.append(frame(again))
        smallest = min(shot.height for shot in frames)
        frames = [shot.crop((0, 0, shot.width, smallest)) for shot in frames]
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
        "prompt": PROMPT, **SMALL, "steps": 20, "seed": seed, "script_name": "Attention Heatmap",
        "script_args": ["circle, blue square", "0.6, 1.4", True],
        "alwayson_scripts": {"Attention Heatmap": {"args": [False, "", 0.5, True, "Auto", 1.5]}},
    }  # fmt: skip
    pictures(server.post("/sdapi/v1/txt2img", payload))[0].save(folder / "study.jpg", quality=QUALITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    webui = Path(os.environ["WEBUI_DIR"]).resolve()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        make_checkpoints(webui, data)
        checkpoint = data / "models" / "Stable-diffusion" / "embedded.safetensors"
        with Server(webui, data, "--ckpt", str(checkpoint)) as server:
            study(server, options.folder, options.seed)
            panel_and_viewer(server, options.folder, options.seed)


if __name__ == "__main__":
    main()
