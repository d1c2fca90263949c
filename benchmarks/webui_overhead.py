"""Measures what the extension costs in a real WebUI: time and peak memory, on over off, in one run.

    WEBUI_DIR=… python -m benchmarks.webui_overhead --family sd1 --steps 20 --steps 60

Generations with the extension on (five terms; maps of every word are kept) and off take turns on a tiny checkpoint.
`--kousw CHECKOUT` lets kousw/stable-diffusion-webui-daam, from its own repository, take turns with them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from tests.real_webui.server import HERE, REPOSITORY, Server, make_checkpoints

PROMPT = "a cute red cat with sunglasses on a white beach, blue sky, detailed, soft light, a boat in the distance"
TERMS = "cat, sunglasses, beach, sky, boat"
MIB = 2**20
OFF, OURS, KOUSW = "off", "ours", "kousw"
SCRIPTS: dict[str, dict[str, Any]] = {
    OFF: {},
    OURS: {"Attention Heatmap": {"args": [True, TERMS]}},
    KOUSW: {"Daam script": {"args": [TERMS, False, False, False, True, "Auto", 0.5, 1.0, False, False]}},
}
"""With a grid, as is our default."""


def generate(server: Server, family: str, steps: int, size: int, kind: str) -> tuple[float, float, int]:
    """(seconds of text encoding, sampling and decoding; seconds of the whole request; peak memory in bytes)"""
    payload: dict[str, Any] = {
        "prompt": PROMPT, "steps": steps, "width": size, "height": size, "seed": 1, "sampler_name": "Euler",
        "override_settings": {"sd_model_checkpoint": family},
    }  # fmt: skip
    payload["alwayson_scripts"] = SCRIPTS[kind]
    server.reset_peak_memory()
    started = time.perf_counter()
    server.post("/sdapi/v1/txt2img", payload)
    whole = time.perf_counter() - started
    return float(server.get("/bench/seconds")), whole, server.peak_memory()


def measure(server: Server, family: str, steps: int, size: int, repeats: int, kinds: Sequence[str]) -> None:
    found: dict[str, list[tuple[float, float, int]]] = {kind: [] for kind in kinds}
    for kind in kinds:
        generate(server, family, steps, size, kind)
    for _ in range(repeats):
        for kind in kinds:
            found[kind].append(generate(server, family, steps, size, kind))
    medians = {kind: tuple(map(statistics.median, zip(*rows))) for kind, rows in found.items()}
    off = medians[OFF]
    for kind, (sampling, whole, peak) in medians.items():
        print(
            f"{family} {size}x{size}, {steps} steps, {kind}: sampling {sampling:.2f} s, ratio {sampling / off[0]:.3f}; "
            f"whole request {whole:.2f} s, ratio {whole / off[1]:.3f}; peak memory {peak / MIB:.0f} MiB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", help="default: sd1 and sdxl")
    parser.add_argument("--steps", type=int, action="append", help="default: 20 and 60")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kousw", type=Path, metavar="CHECKOUT", help="measure that extension beside ours")
    options = parser.parse_args()
    extensions = {"attention-heatmap": REPOSITORY, "bench": HERE / "bench_extension"}
    if options.kousw:
        extensions[KOUSW] = options.kousw.resolve()
    kinds = [OFF, OURS, *([KOUSW] if options.kousw else [])]
    webui = Path(os.environ["WEBUI_DIR"]).resolve()
    print(machine(), "(the WebUI runs with 1 thread and sdp attention)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoints(webui, folder)
        checkpoint = folder / "models" / "Stable-diffusion" / "sd1.safetensors"
        with Server(webui, folder, "--ckpt", str(checkpoint), "--opt-sdp-attention", extensions=extensions) as server:
            for family in options.family or ["sd1", "sdxl"]:
                for steps in options.steps or [20, 60]:
                    measure(server, family, steps, options.size, options.repeats, kinds)


if __name__ == "__main__":
    main()
