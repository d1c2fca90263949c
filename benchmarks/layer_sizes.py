"""Measures what tracing needs beside layers of the real sizes, without the rest of the models: time and peak memory.

    python -m benchmarks.layer_sizes [--model sdxl] [--size 2048] [--pictures 4] [--device cuda]
    python -m benchmarks.layer_sizes --as-on-a-card --size 1024    # on a processor: what a card would have to launch

Only the projections of the cross-attention layers are there, with random weights. So pictures can be as large as no
whole model on a processor could make them in time, and what a traced call takes longer is tracing alone. The peak is
of what torch has allocated, on a processor too: what the process holds differs by 100 MiB from run to run. ATen
operators are counted for each traced layer and call; with `--as-on-a-card` all is done in half precision as there.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.launch_bound import WARM_UP, operators
from benchmarks.machine import head, machine, row
from benchmarks.overhead import MIB, PeakMemory
from daam.tracing import layout, operands
from daam.tracing.capture import Capture
from daam.tracing.plan import TextKey, TracedText

WORDS = tuple(range(1, 20))
TOKENS = 77


class Layers(NamedTuple):
    """Layers of one size. Attributes: reduction: pixels of a position's side."""

    number: int
    channels: int
    heads: int
    reduction: int


MODELS = {
    "sd15": (768, (Layers(5, 320, 8, 8), Layers(5, 640, 8, 16), Layers(5, 1280, 8, 32), Layers(1, 1280, 8, 64))),
    "sdxl": (2048, (Layers(10, 640, 10, 16), Layers(60, 1280, 20, 32))),
}
"""Channels of the text, and the layers."""


class Attention(nn.Module):
    """The projections of one cross-attention."""

    def __init__(self, layers: Layers, text: int):
        super().__init__()
        self.heads = layers.heads
        self.to_q = nn.Linear(layers.channels, layers.channels, bias=False)
        self.to_k = nn.Linear(text, layers.channels, bias=False)


class Spatial(nn.Module):
    """A transformer with one block; what it is called with has the size of its maps."""

    def __init__(self, layers: Layers, text: int):
        super().__init__()
        attention = Attention(layers, text)
        block = nn.Module()
        block.attn1, block.attn2 = Attention(layers, text), attention
        self.transformer_blocks = nn.ModuleList([block])
        self.attend = attention

    def forward(self, image: Tensor, context: Tensor) -> None:
        hidden = image.flatten(2).transpose(1, 2)
        self.attend.to_q(hidden)
        self.attend.to_k(context)


class Model(nn.Module):
    """The layers one behind the other; random numbers stand for what a model would have made of the latent."""

    def __init__(self, name: str):
        super().__init__()
        text, sizes = MODELS[name]
        self.sizes = [layers for layers in sizes for _ in range(layers.number)]
        self.spatials = nn.ModuleList([Spatial(layers, text) for layers in self.sizes])

    def forward(self, latent: Tensor, _timestep: Tensor, context: Tensor) -> None:
        rows, _, height, width = latent.shape
        images: dict[Layers, Tensor] = {}
        for layers, spatial in zip(self.sizes, self.spatials):
            if layers not in images:
                images.clear()
                factor = layers.reduction // 8
                size = (rows, layers.channels, height // factor, width // factor)
                images[layers] = torch.randn(size, device=latent.device, dtype=latent.dtype)
            spatial(images[layers], context)


class Calls:
    """Calls of a model, with guidance: the rows of the negative prompts, then the others."""

    def __init__(self, name: str, options: SimpleNamespace):
        self._model = Model(name).to(options.device, options.dtype)
        self._device, pictures = options.device, options.pictures
        like = {"device": options.device, "dtype": options.dtype}
        self._latent = torch.zeros(2 * pictures, 4, options.size // 8, options.size // 8, **like)
        self._context = torch.randn(2 * pictures, TOKENS, MODELS[name][0], **like)
        self._rows = [
            *[None] * pictures,
            *[TracedText(TextKey(image, "positive"), WORDS) for image in range(pictures)],
        ]

    def trace(self) -> ExitStack:
        """Watches the calls until it is left."""
        stack = ExitStack()
        Capture(self._model, lambda _call: self._rows).install(stack)
        return stack

    def call(self) -> float:
        """Seconds."""
        started = time.perf_counter()
        self._model(self._latent, torch.zeros(1), self._context)
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - started


def peak(calls: Calls, device: str) -> int:
    """Bytes that torch has allocated at the most, of some calls, beyond those at their beginning."""
    if device.startswith("cuda"):
        with PeakMemory(device) as memory:
            for _ in range(WARM_UP):
                calls.call()
        return memory.bytes
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        for _ in range(WARM_UP):
            calls.call()
    assert seen.profiler is not None and seen.profiler.kineto_results is not None
    events = seen.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(itertools.accumulate(change for _, change in changes))


@torch.no_grad()
def measure(name: str, options: SimpleNamespace) -> str:
    """A row of the table."""
    calls, found = Calls(name, options), []
    for watching in (ExitStack, calls.trace):
        with watching():
            most = peak(calls, options.device)
            seconds = statistics.median(calls.call() for _ in range(options.repeats))
            found.append((seconds, most, operators(calls, 1)))
    both, peaks, (plain, traced) = zip(*found)
    extra = (traced - plain) / sum(layers.number for layers in MODELS[name][1])
    return row(
        name, options.size, options.pictures, *(f"{each:.3f}" for each in both),
        *(f"{each / MIB:.0f}" for each in peaks), f"{extra:.2f}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="may be repeated; default: both")
    parser.add_argument("--size", type=int, default=2048, help="of the pictures")
    parser.add_argument("--pictures", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="calls that are timed")
    parser.add_argument("--as-on-a-card", action="store_true", help="the same operators as there")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options: SimpleNamespace = parser.parse_args(namespace=SimpleNamespace())
    options.dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    if options.as_on_a_card:
        options.dtype = torch.float16
        layout.CHUNK_FACTOR["cpu"] = layout.CHUNK_FACTOR["other"]
        operands.is_processor = lambda _device: False
    torch.set_num_threads(options.threads)
    print(f"{machine(options.device)}; {options.dtype}\n")
    print(head("layers of", "size", "pictures", "plain, s", "traced, s", "peak, MiB", "traced, MiB", "extra operators"))
    for name in options.model or list(MODELS):
        print(measure(name, options), flush=True)


if __name__ == "__main__":
    main()
