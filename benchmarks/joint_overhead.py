"""Measures what tracing joint attention costs: blocks of Flux's real sizes, random weights, plain and traced in turn.

    python -m benchmarks.joint_overhead --size 512 --repeats 3

Flux has 19 blocks of two streams and 38 of one; here are fewer, for what each adds does not depend on the others.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from typing import Any

import torch
from diffusers import FluxTransformer2DModel

from benchmarks.machine import machine
from daam.tracing.capture import Capture
from daam.tracing.plan import TextKey, TracedText

COLUMNS, WORDS = 512, 20


def flux(double: int, single: int) -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(num_layers=double, num_single_layers=single, guidance_embeds=True).eval()


def call_of(size: int) -> dict[str, Any]:
    side = size // 16
    ids = torch.zeros(side, side, 3)
    ids[..., 1], ids[..., 2] = torch.arange(side)[:, None], torch.arange(side)[None]
    return {
        "hidden_states": torch.randn(1, side * side, 64), "encoder_hidden_states": torch.randn(1, COLUMNS, 4096),
        "pooled_projections": torch.randn(1, 768), "timestep": torch.tensor([0.5]), "guidance": torch.tensor([3.5]),
        "img_ids": ids.flatten(0, 1), "txt_ids": torch.zeros(COLUMNS, 3), "return_dict": False,
    }  # fmt: skip


@torch.no_grad()
def seconds(model: Any, given: dict[str, Any], keep: str) -> float:
    """Processor time of one call. Args: keep: "" is not traced, "maps", "outputs"."""
    columns = tuple(range(WORDS))
    text = TracedText(TextKey(0, "positive"), columns, output_words=tuple((column,) for column in columns))
    with ExitStack() as stack:
        if keep:
            capture = Capture(model, lambda call: [text], keep_outputs=keep == "outputs")
            capture.install(stack)
        started = time.process_time()  # of all threads: other work on the machine does not count
        model(**given)
        return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of the picture, in pixels")
    parser.add_argument("--double", type=int, default=1)
    parser.add_argument("--single", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model, given = flux(options.double, options.single), call_of(options.size)
    times: dict[str, list[float]] = {"": [], "maps": [], "outputs": []}
    seconds(model, given, "")
    for _ in range(options.repeats):
        for keep, found in times.items():
            found.append(seconds(model, given, keep))
    plain, maps, outputs = (statistics.median(found) for found in times.values())
    print(f"{options.size}x{options.size}, {options.double} + {options.single} blocks, {machine()}")
    print(f"plain {plain:.2f} s, with maps {maps:.2f} s ({maps / plain:.2f})", end=", ")
    print(f"with output maps too {outputs:.2f} s ({outputs / plain:.2f})")


if __name__ == "__main__":
    main()
