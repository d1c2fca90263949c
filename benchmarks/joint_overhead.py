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
from daam.hosts.diffusers_tokens import one_text
from daam.prompt.table import TokenColumn
from daam.tracing.capture import Capture
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe

COLUMNS, WORDS, BESIDE = 512, 20, 4


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


def probe_of_columns(vectors: torch.Tensor) -> Probe:
    """Of which each token is a word."""
    words = [f"word{number}" for number in range(len(vectors))]
    prompt, columns = ", ".join(words), []
    for number, word in enumerate(words):
        start = prompt.index(word)
        columns.append(TokenColumn(number, 1, word, (start, start + len(word)), 1.0, 0, "text", number))
    return Probe(vectors, one_text(prompt, columns), tuple(range(len(vectors))))


@torch.no_grad()
def seconds(model: Any, given: dict[str, Any], keep: str) -> float:
    """Processor time of one call. Args: keep: "" is not traced, "maps", "outputs", "words" beside the prompt too."""
    columns = tuple(range(WORDS))
    text = TracedText(TextKey(0, "positive"), columns, output_words=tuple((column,) for column in columns))
    with ExitStack() as stack:
        if keep:
            probe = probe_of_columns(given["encoder_hidden_states"][0, :BESIDE]) if keep == "words" else None
            capture = Capture(model, lambda call: [text], keep_outputs=keep in ("outputs", "words"), probe=probe)
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
    times: dict[str, list[float]] = {"": [], "maps": [], "outputs": [], "words": []}
    seconds(model, given, "")
    for _ in range(options.repeats):
        for keep, found in times.items():
            found.append(seconds(model, given, keep))
    plain, maps, outputs, words = (statistics.median(found) for found in times.values())
    print(f"{options.size}x{options.size}, {options.double} + {options.single} blocks, {machine()}")
    print(f"plain {plain:.2f} s, with maps {maps:.2f} s ({maps / plain:.2f})", end=", ")
    print(f"with output maps too {outputs:.2f} s ({outputs / plain:.2f})", end=", ")
    print(f"with {BESIDE} words beside the prompt too {words:.2f} s ({words / plain:.2f})")


if __name__ == "__main__":
    main()
