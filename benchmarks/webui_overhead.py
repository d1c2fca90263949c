"""Measures what the extension costs in a real WebUI: time and peak memory, on over off, in one run.

    WEBUI_DIR=… python -m benchmarks.webui_overhead --family sd1 --steps 20 --steps 60

Generations with the extension on (five terms; maps of every word are kept) and off take turns on a tiny checkpoint.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from tests.real_webui.server import Server, make_checkpoints

PROMPT = "a cute red cat with sunglasses on a white beach, blue sky, detailed, soft light, a boat in the distance"
TERMS = "cat, sunglasses, beach, sky, boat"
MIB = 2**20


def generate(server: Server, family: str, steps: int, size: int, heat_maps: bool) -> tuple[float, float, int]:
    """(seconds of text encoding, sampling and decoding; seconds of the whole request; peak memory in bytes)"""
    payload: dict[str, Any] = {
        "prompt": PROMPT, "steps": steps, "width": size, "height": size, "seed": 1, "sampler_name": "Euler",
        "override_settings": {"sd_model_checkpoint": family},
    }  # fmt: skip
    if heat_maps:
        payload["alwayson_scripts"] = {"Attention Heatmap": {"args": [True, TERMS]}}
    server.reset_peak_memory()
    started = time.perf_counter()
    server.post("/sdapi/v1/txt2img", payload)
    whole = time.perf_counter() - started
    return float(server.get("/bench/seconds")), whole, server.peak_memory()


def measure(server: Server, family: str, steps: int, size: int, repeats: int) -> None:
    kinds: dict[bool, list[tuple[float, float, int]]] = {False: [], True: []}
    generate(server, family, steps, size, True)
    for _ in range(repeats):
        for heat_maps in (False, True):
            kinds[heat_maps].append(generate(server, family, steps, size, heat_maps))
    off, on = (
        tuple(statistics.median(column) for column in zip(*kinds[heat_maps])) for heat_maps in (False, True)
    )  # fmt: skip
    print(
        f"{family} {size}x{size}, {steps} steps: sampling {off[0]:.2f} s, with maps {on[0]:.2f} s, "
        f"ratio {on[0] / off[0]:.3f}; whole request {off[1]:.2f} s, {on[1]:.2f} s, ratio {on[1] / off[1]:.3f}; "
        f"peak memory {off[2] / MIB:.0f} MiB, {on[2] / MIB:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", help="default: sd1 and sdxl")
    parser.add_argument("--steps", type=int, action="append", help="default: 20 and 60")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    webui = Path(os.environ["WEBUI_DIR"]).resolve()
    print(machine(), "(the WebUI runs with 1 thread and sdp attention)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoints(webui, folder)
        checkpoint = folder / "models" / "Stable-diffusion" / "sd1.safetensors"
        with Server(webui, folder, "--ckpt", str(checkpoint), "--opt-sdp-attention") as server:
            for family in options.family or ["sd1", "sdxl"]:
                for steps in options.steps or [20, 60]:
                    measure(server, family, steps, options.size, options.repeats)


if __name__ == "__main__":
    main()
