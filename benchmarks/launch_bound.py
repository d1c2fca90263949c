"""Measures what tracing costs where launching kernels is all that counts: the real layouts at tiny sizes.

    python -m benchmarks.launch_bound [--castorini CHECKOUT]
    python -m benchmarks.launch_bound --size 512 --size 1024    # the real models, with random weights; for a GPU

On a fast graphics card it is Python and the dispatcher that limit a UNet of many small kernels. The layouts here have
all the layers of the real models and hardly a number in them. Printed are: how many more ATen operators each traced
layer costs in a call of the model (counted, so that no noise touches it); how much longer the call takes, the median
over pairs of plain and traced calls, of wall time and of the process's own CPU time; how many more page faults a call
has (new memory that is touched: on a CPU they cost more than the copies); and the peak of memory.
"""

from __future__ import annotations

import argparse
import functools
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import overhead
from benchmarks.machine import head, machine, row
from benchmarks.overhead import MIB, PROMPT, SD15_LAYOUT, SDXL_LAYOUT, PeakMemory, sd_pipeline, sdxl_pipeline
from benchmarks.peers import castorini_trace
from daam.hosts.diffusers_trace import trace
from daam.tracing.families.cross_attention import find_cross_attention_layers

PROBE = "grass, a green dog"
WARM_UP = 3
"""Calls that do not count."""
Tracing = Callable[[Any], AbstractContextManager[Any]]
"""What watches a pipeline."""


def sd15() -> Any:
    """Stable Diffusion 1.5's layout: 16 cross-attentions of eight heads at three sizes and in the middle."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 128, 128),
        cross_attention_dim=64,
        **SD15_LAYOUT,
    )
    return sd_pipeline(unet)


def sdxl() -> Any:
    """Stable Diffusion XL's layout: 70 cross-attentions of ten and of twenty heads."""
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 80, 160),
        norm_num_groups=16,
        cross_attention_dim=64,
        attention_head_dim=(4, 10, 20),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=40 + 6 * 8,
        **SDXL_LAYOUT,
    )
    return sdxl_pipeline(unet)


MODELS: dict[str, Callable[[], Any]] = {"sd15": sd15, "sdxl": sdxl}


class ModelCalls:
    """Calls of a pipeline's UNet as the pipeline makes them, with guidance, and nothing beside them."""

    def __init__(self, name: str, pictures: int, device: str, dtype: torch.dtype, size: int | None = None):
        """Args: size: of the pictures, of the real model; None makes the tiny one of the same layout."""
        torch.manual_seed(0)
        self.pipeline = MODELS[name]().to(device, dtype) if size is None else overhead.MODELS[name](device, dtype)
        self.pipeline.set_progress_bar_config(disable=True)
        self.layers = len(find_cross_attention_layers(self.pipeline.unet))
        self._device = device
        self._arguments: tuple[Any, ...] = ()
        self._named: dict[str, Any] = {}
        hook = self.pipeline.unet.register_forward_pre_hook(self._keep, with_kwargs=True)
        self.generate = lambda: self.pipeline(PROMPT, num_images_per_prompt=pictures, num_inference_steps=1,
                                              height=size, width=size, output_type="latent")  # fmt: skip
        self.generate()
        hook.remove()

    def _keep(self, _unet: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._arguments, self._named = arguments, named

    @torch.no_grad()
    def call(self) -> None:
        sample, timestep, *more = self._arguments
        self.pipeline.unet(sample, timestep.clone(), *more, **self._named)  # a new tensor in each step, as in loops
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()

    @contextmanager
    def traced(self, tracing: Tracing) -> Iterator[None]:
        """The same calls, with the trace that a generation of this prompt has."""
        with tracing(self.pipeline):
            hook = self.pipeline.unet.register_forward_pre_hook(self._keep, with_kwargs=True)
            self.generate()
            hook.remove()
            yield


class Count(TorchDispatchMode):
    """Counts ATen operators, those that launch no kernel too."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        self.operators += 1
        return function(*arguments, **(named or {}))


def operators(calls: ModelCalls, repeats: int) -> int:
    with Count() as count:
        for _ in range(repeats):
            calls.call()
    return count.operators


def extra_operators(calls: ModelCalls, tracing: Tracing, repeats: int = 2) -> float:
    """How many more for each traced layer and call, once the first calls have found out what the layers do."""
    plain = operators(calls, repeats)
    with calls.traced(tracing):
        operators(calls, WARM_UP)
        traced = operators(calls, repeats)
    return (traced - plain) / repeats / calls.layers


@dataclass(frozen=True)
class Times:
    """Medians of one call of the model: seconds of wall time and of the process's own CPU time, and page faults."""

    wall: float
    processor: float
    faults: float


def spent() -> tuple[float, float, int]:
    """Of this process: wall time, CPU time, page faults."""
    return time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def timed(two: Sequence[ModelCalls], tracing: Tracing, pairs: int) -> list[tuple[Times, Times]]:
    """A plain and a traced call, pair after pair, so that what else a machine does hits both.

    Two equal pipelines take turns; after half of the pairs they change parts, so that neither's memory counts.
    """
    found = []
    for plain, traced in (two, reversed(two)):
        with traced.traced(tracing):
            for number in range(WARM_UP + pairs // 2):
                each = []
                for calls in (plain, traced):
                    before = spent()
                    calls.call()
                    each.append(Times(*(now - then for now, then in zip(spent(), before))))
                if number >= WARM_UP:
                    found.append((each[0], each[1]))
    return found


def quartiles(ratios: Iterable[float]) -> tuple[float, float, float]:
    """The median, the lower and the upper quartile. Of pairs, a machine that slows down counts for little."""
    low, middle, high = statistics.quantiles(list(ratios), n=4)
    return middle, low, high


def peak(calls: ModelCalls, device: str, tracing: Tracing | None) -> int:
    """Bytes of memory at the peak of some calls, above the start."""
    with calls.traced(tracing) if tracing is not None else nullcontext(), PeakMemory(device) as memory:
        for _ in range(5):
            calls.call()
    return memory.bytes


def measure(name: str, size: int | None, pictures: int, who: str, tracing: Tracing, options: argparse.Namespace) -> str:
    """A row of the table."""
    two = [ModelCalls(name, pictures, options.device, options.dtype, size) for _ in range(2)]
    calls = two[0]
    extra = extra_operators(calls, tracing)
    pairs = timed(two, tracing, options.pairs)
    plain, traced = (Times(*map(statistics.median, zip(*map(astuple, each)))) for each in zip(*pairs))
    wall, low, high = quartiles(second.wall / first.wall for first, second in pairs)
    processor = statistics.median(second.processor / first.processor for first, second in pairs)
    memory = [peak(calls, options.device, chosen) / MIB for chosen in (None, tracing)]
    return row(
        name, size or "tiny", pictures, who, calls.layers,
        f"{extra:.2f}", f"{1e3 * plain.wall:.2f}", f"{1e3 * traced.wall:.2f}",
        f"{wall:.3f} ({low:.2f} to {high:.2f})", f"{processor:.3f}", f"{traced.faults - plain.faults:.0f}",
        *(f"{number:.1f}" for number in memory),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="may be repeated; default: both")
    parser.add_argument("--size", action="append", type=int, help="of pictures of the real models, may be repeated")
    parser.add_argument("--pairs", type=int, default=160, help="of a plain and a traced call")
    parser.add_argument("--castorini", type=Path, metavar="CHECKOUT", help="measure castorini/daam beside ours")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    options.dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    torch.set_num_threads(options.threads)
    print(f"{machine(options.device)}; medians of {options.pairs} pairs of calls\n")
    print(head("layout", "size", "pictures", "trace", "layers", "extra calls", "plain, ms", "traced, ms",
               "ratio (quartiles)", "ratio of CPU time", "extra faults", "peak, MiB", "traced, MiB"))  # fmt: skip
    probing = functools.partial(trace, probe=PROBE)
    rows: list[tuple[int, str, Tracing]] = [(1, "ours", trace)]
    if not options.size:
        rows += [(4, "ours", trace), (1, "ours, probe", probing)]
    if options.castorini:
        rows.append((1, "castorini/daam", functools.partial(castorini_trace, options.castorini)))
    for name in options.model or list(MODELS):
        for size in options.size or [None]:
            for pictures, who, tracing in rows:
                print(measure(name, size, pictures, who, tracing, options), flush=True)


if __name__ == "__main__":
    main()
