"""Measures what tracing costs: time as a ratio of medians, and memory, with and without, in one run.

    python -m benchmarks.overhead --model embedded --model sd15 --steps 20 --steps 100
    python -m benchmarks.overhead --model sd15 --model sdxl --size 512 --size 1024 --steps 10 --device cuda

The large models have random weights in the real sizes: time and memory do not depend on them. On a GPU they run in
half precision. With `--compile` the UNet is compiled, for the traced runs inside of the trace, as it must be.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from benchmarks.machine import head, machine, row
from daam.hosts.diffusers_models import EMBEDDED_FOLDER, load_pipeline
from daam.hosts.diffusers_trace import Tracer, trace

PROMPT = "a cute red cat with sunglasses on a white beach, blue sky, detailed, soft light, a boat in the distance"
DOWN, CROSS_DOWN = "DownBlock2D", "CrossAttnDownBlock2D"
UP, CROSS_UP = "UpBlock2D", "CrossAttnUpBlock2D"
MIB = 2**20
SD15_LAYOUT: dict[str, Any] = {
    "down_block_types": (CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN),
    "up_block_types": (UP, CROSS_UP, CROSS_UP, CROSS_UP),
    "attention_head_dim": 8,
}
SDXL_LAYOUT: dict[str, Any] = {
    "down_block_types": (DOWN, CROSS_DOWN, CROSS_DOWN),
    "up_block_types": (CROSS_UP, CROSS_UP, UP),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}
"""What a UNet has of a family whatever its size."""


@contextmanager
def made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Weights are made where and as they are wanted: 2.6 thousand million of them take minutes on a processor."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def embedded(device: str, dtype: torch.dtype) -> Any:
    return load_pipeline(device="cpu").to(device, dtype)


def sd15(device: str, dtype: torch.dtype) -> Any:
    """Stable Diffusion 1.5's UNet: 860 million parameters."""
    with made_on(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            cross_attention_dim=768,
            **SD15_LAYOUT,
        )
    return sd_pipeline(unet).to(device, dtype)


def sdxl(device: str, dtype: torch.dtype) -> Any:
    """Stable Diffusion XL's UNet: 2.6 thousand million parameters, 70 cross-attentions."""
    with made_on(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            cross_attention_dim=2048,
            attention_head_dim=(5, 10, 20),
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            **SDXL_LAYOUT,
        )
    return sdxl_pipeline(unet).to(device, dtype)


def sd_pipeline(unet: UNet2DConditionModel) -> Any:
    """The smallest pipeline around a UNet, whose context is as wide as it expects."""
    return StableDiffusionPipeline(
        unet=unet, vae=_vae(), text_encoder=_text_encoder(unet.config.cross_attention_dim), tokenizer=_tokenizer(),
        scheduler=_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl_pipeline(unet: UNet2DConditionModel) -> Any:
    """The same for SDXL: three eighths of the context are the first encoder's."""
    first = unet.config.cross_attention_dim * 3 // 8
    second = _text_encoder(unet.config.cross_attention_dim - first, projected=True)
    return StableDiffusionXLPipeline(
        unet=unet, vae=_vae(), text_encoder=_text_encoder(first), text_encoder_2=second, tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(), scheduler=_scheduler(), add_watermarker=False,
    )  # fmt: skip


MODELS: dict[str, Callable[[str, torch.dtype], Any]] = {"embedded": embedded, "sd15": sd15, "sdxl": sdxl}


def _vae() -> AutoencoderKL:
    """Of no weight: latents are what is measured."""
    return AutoencoderKL(
        block_out_channels=(32,) * 4, layers_per_block=0, norm_num_groups=32,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip


def _text_encoder(channels: int, projected: bool = False) -> CLIPTextModel:
    settings = CLIPTextConfig(
        vocab_size=49408, hidden_size=channels, intermediate_size=channels, projection_dim=channels,
        num_hidden_layers=2, num_attention_heads=4, bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(settings)


def _tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)


@dataclass(frozen=True)
class Run:
    """One generation: seconds of wall time and of the process's own, bytes of memory at its peak above the start."""

    seconds: float
    processor: float
    peak: int


class PeakMemory:
    """Watches the peak: of the GPU's allocator, or of the process, sampled every few milliseconds."""

    def __init__(self, device: str):
        self._is_cuda = device.startswith("cuda")
        self._stop = threading.Event()
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self._is_cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
        else:
            import psutil  # which machines with a GPU need not have

            self._process = psutil.Process()
            self._start = self._process.memory_info().rss
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._start)

    def __exit__(self, *_: object) -> None:
        if self._is_cuda:
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._start
        else:
            self._stop.set()
            self._thread.join()


def run_once(pipeline: Any, device: str, steps: int, size: int | None, watching: AbstractContextManager[Any]) -> Run:
    """One generation of one picture with guidance, down to its latent."""
    generator = torch.Generator().manual_seed(0)
    arguments = {"num_inference_steps": steps, "height": size, "width": size, "generator": generator}
    with PeakMemory(device) as memory:
        started, used = time.perf_counter(), time.process_time()
        with watching:
            pipeline(PROMPT, output_type="latent", **arguments)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds, processor = time.perf_counter() - started, time.process_time() - used
    return Run(seconds, processor, memory.bytes)


def kept_bytes(tracer: Tracer) -> int:
    """Size of all maps that the trace holds."""
    tensors = [maps for text in tracer.image_trace(0).texts.values() for maps in text.sums.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def alternating(
    pipeline: Any, options: argparse.Namespace, steps: int, size: int | None
) -> tuple[list[Run], list[Run], int]:
    """Plain and traced runs, either first in turn, after one of each that does not count; bytes of the maps."""
    tracer = trace(pipeline)
    plain: list[Run] = []
    traced: list[Run] = []
    for repeat in range(options.repeats + 1):
        pair: list[tuple[list[Run], AbstractContextManager[Any]]] = [(plain, nullcontext()), (traced, tracer)]
        for runs, watching in pair if repeat % 2 else reversed(pair):
            runs.append(run_once(pipeline, options.device, steps if repeat else 1, size, watching))
    return plain[1:], traced[1:], kept_bytes(tracer)


def compiled(
    pipeline: Any, options: argparse.Namespace, steps: int, size: int | None
) -> tuple[list[Run], list[Run], int]:
    """The same with the UNet compiled: first all plain runs, then all traced ones, compiled inside of the trace."""

    def runs() -> list[Run]:
        torch._dynamo.reset()
        pipeline.unet.compile()
        found = [run_once(pipeline, options.device, steps, size, nullcontext()) for _ in range(options.repeats + 1)]
        pipeline.unet._compiled_call_impl = None
        return found[1:]

    plain = runs()
    with trace(pipeline) as tracer:
        traced = runs()
    return plain, traced, kept_bytes(tracer)


def measure(name: str, pipeline: Any, options: argparse.Namespace, steps: int, size: int | None) -> str:
    """A row of the table."""
    plain, traced, kept = (compiled if options.compile else alternating)(pipeline, options, steps, size)
    seconds, peaks = (
        [statistics.median(getattr(run, name) for run in runs) for runs in (plain, traced)]
        for name in ("seconds", "peak")
    )
    ratios = sorted(second.seconds / first.seconds for first, second in zip(plain, traced))
    ratio = f"{statistics.median(ratios):.3f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    processor = statistics.median(second.processor / first.processor for first, second in zip(plain, traced))
    memory = [f"{number / MIB:.1f}" for number in (*peaks, kept)]
    return row(
        name, size or "its own", steps, *(f"{number:.3f}" for number in seconds), ratio, f"{processor:.3f}", *memory
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="may be repeated; default: embedded")
    parser.add_argument("--steps", action="append", type=int, help="may be repeated; default: 20 and 100")
    parser.add_argument("--size", action="append", type=int, help="side in pixels, may be repeated; default: its own")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="with torch.compile around the UNet")
    options = parser.parse_args()
    dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    print(f"{machine(options.device)}; {str(dtype).removeprefix('torch.')}; medians of {options.repeats}\n")
    print(head("UNet", "size", "steps", "plain, s", "traced, s", "ratio of pairs (all)",
               "ratio of CPU time", "peak, plain, MiB", "peak, traced, MiB", "maps kept, MiB"))  # fmt: skip
    for name in options.model or ["embedded"]:
        torch.manual_seed(0)
        pipeline = MODELS[name](options.device, dtype)
        pipeline.set_progress_bar_config(disable=True)
        for size in options.size or [None]:
            for steps in options.steps or [20, 100]:
                print(measure(name, pipeline, options, steps, size), flush=True)
        del pipeline


if __name__ == "__main__":
    main()
