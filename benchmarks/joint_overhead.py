"""Measures what tracing joint attention costs: blocks of Flux's real sizes, random weights, plain and traced in turn.

    python -m benchmarks.joint_overhead --size 512 --repeats 3
    python -m benchmarks.joint_overhead --device cuda --double 19 --single 38 --repeats 10    # all of Flux, 24 GB

Flux has 19 blocks of two streams and 38 of one; on a CPU fewer do, for what each adds does not depend on the others. On
a CUDA device the model is in bfloat16 and wall time counts, on a CPU processor time.
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


def flux(double: int, single: int, device: torch.device, dtype: torch.dtype) -> FluxTransformer2DModel:
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # whole in float32 it would be 48 GB
    try:
        with device:
            return FluxTransformer2DModel(num_layers=double, num_single_layers=single, guidance_embeds=True).eval()
    finally:
        torch.set_default_dtype(before)


def call_of(size: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    side = size // 16
    ids = torch.zeros(side, side, 3)
    ids[..., 1], ids[..., 2] = torch.arange(side)[:, None], torch.arange(side)[None]
    given = {
        "hidden_states": torch.randn(1, side * side, 64), "encoder_hidden_states": torch.randn(1, COLUMNS, 4096),
        "pooled_projections": torch.randn(1, 768), "timestep": torch.tensor([0.5]), "guidance": torch.tensor([3.5]),
        "img_ids": ids.flatten(0, 1), "txt_ids": torch.zeros(COLUMNS, 3),
    }  # fmt: skip
    return {name: tensor.to(device, dtype) for name, tensor in given.items()} | {"return_dict": False}


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
    """Time of one call. Args: keep: "" is not traced, "maps", "outputs", "words" beside the prompt too."""
    columns = tuple(range(WORDS))
    text = TracedText(TextKey(0, "positive"), columns, output_words=tuple((column,) for column in columns))
    with ExitStack() as stack:
        if keep:
            probe = probe_of_columns(given["encoder_hidden_states"][0, :BESIDE]) if keep == "words" else None
            capture = Capture(model, lambda call: [text], keep_outputs=keep in ("outputs", "words"), probe=probe)
            capture.install(stack)
        if model.device.type != "cuda":
            started = time.process_time()  # of all threads: other work on the machine does not count
            model(**given)
            return time.process_time() - started
        torch.cuda.synchronize()
        started = time.perf_counter()
        model(**given)
        torch.cuda.synchronize()
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="of the picture, in pixels")
    parser.add_argument("--double", type=int, default=1)
    parser.add_argument("--single", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    dtype = torch.bfloat16 if options.device.type == "cuda" else torch.float32
    model = flux(options.double, options.single, options.device, dtype)
    given = call_of(options.size, options.device, dtype)
    times: dict[str, list[float]] = {"": [], "maps": [], "outputs": [], "words": []}
    for keep in times:
        seconds(model, given, keep)
    for _ in range(options.repeats):
        for keep, found in times.items():
            found.append(seconds(model, given, keep))
    plain, maps, outputs, words = (statistics.median(found) for found in times.values())
    print(f"{options.size}x{options.size}, {options.double} + {options.single} blocks, {machine(str(options.device))}")
    print(f"plain {plain:.3f} s, with maps {maps:.3f} s ({maps / plain:.2f})", end=", ")
    print(f"with output maps too {outputs:.3f} s ({outputs / plain:.2f})", end=", ")
    print(f"with {BESIDE} words beside the prompt too {words:.3f} s ({words / plain:.2f})")


if __name__ == "__main__":
    main()
