"""Measures what refined maps cost: what is held while the model runs, and time and memory at the end.

    python -m benchmarks.refined [--model sd15] [--model sdxl] [--size 512] [--device cuda]

The large models have random weights in the real sizes: time and memory don't depend on the weights. Each is called once
with guidance, and then maps of 19 words are refined. While the model runs nothing is computed: that a call has not one
operator more is a test (`tests/tracing/test_refined.py`).
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks.machine import machine
from benchmarks.overhead import MIB, MODELS, PROMPT, PeakMemory
from daam.hosts.diffusers_trace import trace
from daam.tracing.latest import LatestOfImage
from daam.tracing.refining import refine

COLUMNS = {
    "model": 9, "grid": 9, "layers": 6, "held, MiB": 10, "GFLOP": 7, "call, s": 8, "refining, s": 12, "peak, MiB": 10,
}  # fmt: skip
HEAD = " ".join(f"{name:{'<' if name == 'model' else '>'}{width}}" for name, width in COLUMNS.items())


def measure(name: str, device: str, dtype: torch.dtype, size: int | None, repeats: int) -> str:
    """A row of the table. Peak: of memory while maps are refined, beyond what was there; medians of the repeats."""
    torch.manual_seed(0)
    pipeline = MODELS[name](dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    with trace(pipeline, keep="refined") as tracer:
        pipeline(PROMPT, output_type="latent", num_inference_steps=1, height=size, width=size)
        started = time.perf_counter()
        pipeline(PROMPT, output_type="latent", num_inference_steps=1, height=size, width=size)
        _wait(device)
        called = time.perf_counter() - started
        along = tracer.self_attention()
        held = tracer._capture.latest.held_bytes if tracer._capture.latest is not None else 0
        runs = [_refined(along, device) for _ in range(repeats)]
    seconds, peak = (statistics.median(run[number] for run in runs) for number in (0, 1))
    operations = sum(layer.operations for layer in along.of(0)) / 1e9
    grid = f"{along.size[0]}×{along.size[1]}"
    return (
        f"{name:9} {grid:>9} {len(along.of(0)):6} {held / MIB:10.1f} {operations:7.0f} {called:8.2f} {seconds:12.3f} "
        f"{peak / MIB:10.1f}"
    )


def _refined(along: LatestOfImage, device: str) -> tuple[float, int]:
    """Seconds, and bytes at the peak."""
    maps = torch.rand(19, *along.size, device=device)
    with PeakMemory(device) as memory:
        started = time.perf_counter()
        refine(maps, along.of(0))
        _wait(device)
        seconds = time.perf_counter() - started
    return seconds, memory.bytes


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="may be repeated; default: all")
    parser.add_argument("--size", type=int, help="side of the picture in pixels; default: the model's own")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    print(f"{machine(options.device)}; {str(dtype).removeprefix('torch.')}; medians of {options.repeats}\n{HEAD}")
    for name in options.model or list(MODELS):
        print(measure(name, options.device, dtype, options.size, options.repeats), flush=True)


if __name__ == "__main__":
    main()
