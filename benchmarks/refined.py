"""Measures what refined maps cost: what is held while the model runs, and time and memory at the end.

    python -m benchmarks.refined [--model sd15] [--model sdxl] [--side 1024] [--device cuda] [--with-model]

Time and memory don't depend on weights: the queries and keys of the finest self-attention layers are random, in the
real sizes and for both rows of guidance, and maps of 19 words are carried along them. With `--with-model` the whole
UNet is made too, with random weights, and called once: to see that its layers are these, and what share of a call the
refining is. While the model runs nothing is computed: that a call has not one operator more is a test
(`tests/tracing/test_refined.py`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.machine import head, machine, row
from benchmarks.overhead import MIB, MODELS, PROMPT, PeakMemory
from daam.hosts.diffusers_trace import trace
from daam.tracing.refining import SelfAttention, refine

WORDS = 19
HEAD = head("model", "grid", "layers", "held, MiB", "scores, millions", "refining, s", "memory for it, MiB")


@dataclass(frozen=True)
class Finest:
    """A model's finest self-attention. Attributes: side: of the picture; reduction: pixels of a position's side."""

    layers: int
    channels: int
    heads: int
    side: int
    reduction: int


FINEST = {
    "embedded": Finest(3, 64, 2, 128, 8),
    "sd15": Finest(5, 320, 8, 512, 8),
    "sdxl": Finest(10, 640, 10, 1024, 16),
}


def measure(name: str, side: int | None, device: str, dtype: torch.dtype, repeats: int) -> str:
    """A row of the table. Peak: of memory while maps are refined, beyond what was there; medians of the repeats."""
    finest = FINEST[name]
    grid = (side or finest.side) // finest.reduction
    shape = (2, grid * grid, finest.channels)  # both rows of guidance are of one tensor
    pairs = [[torch.randn(shape, device=device, dtype=dtype) for _ in range(2)] for _ in range(finest.layers)]
    scale = (finest.channels // finest.heads) ** -0.5
    layers = [SelfAttention(query[1], key[1], finest.heads, scale) for query, key in pairs]
    held = sum(tensor.numel() * tensor.element_size() for pair in pairs for tensor in pair)
    maps = torch.rand(WORDS, grid, grid, device=device)
    runs = [_refined(maps, layers, device) for _ in range(repeats)]
    seconds, peak = (statistics.median(run[number] for run in runs) for number in (0, 1))
    scores = sum(layer.scores for layer in layers) / 1e6
    numbers = (f"{held / MIB:.1f}", f"{scores:.1f}", f"{seconds:.3f}", f"{peak / MIB:.1f}")
    return row(name, f"{grid}×{grid}", finest.layers, *numbers)


def _refined(maps: torch.Tensor, layers: list[SelfAttention], device: str) -> tuple[float, int]:
    """Seconds, and bytes at the peak. On a processor the process's own time, so that other programs do not count."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    with PeakMemory(device) as memory:
        started = clock()
        refine(maps, layers)
        _wait(device)
        seconds = clock() - started
    return seconds, memory.bytes


def call_model(name: str, side: int | None, device: str, dtype: torch.dtype) -> str:
    """One call of the whole UNet, traced for refined maps: its seconds, its finest layers, and what is held of them."""
    pipeline = MODELS[name](device, dtype)
    pipeline.set_progress_bar_config(disable=True)
    with trace(pipeline, keep="refined") as tracer:
        started = time.perf_counter()
        pipeline(PROMPT, output_type="latent", num_inference_steps=1, height=side, width=side)
        _wait(device)
        seconds = time.perf_counter() - started
        along = tracer.self_attention()
        held = tracer.held_bytes
    layer = along.of(0)[0]
    return (
        f"  a call takes {seconds:.2f} s; {len(along.of(0))} layers of {layer.query.shape[1]} channels, {layer.heads} "
        f"heads at {along.size[0]}×{along.size[1]}, {held / MIB:.1f} MiB are held"
    )


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(FINEST), help="may be repeated; default: all")
    parser.add_argument("--side", type=int, help="of the picture in pixels; default: the model's own")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--with-model", action="store_true", help="call the whole UNet too")
    options = parser.parse_args()
    dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    print(f"{machine(options.device)}; {str(dtype).removeprefix('torch.')}; medians of {options.repeats}\n\n{HEAD}")
    for name in options.model or list(FINEST):
        print(measure(name, options.side, options.device, dtype, options.repeats), flush=True)
        if options.with_model:
            print(call_model(name, options.side, options.device, dtype), flush=True)


if __name__ == "__main__":
    main()
