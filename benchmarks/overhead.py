"""Measures what tracing costs: time as a ratio of medians, and memory, with and without, in one run.

    python -m benchmarks.overhead --model embedded --model sd15 --steps 20 --steps 100

The large models have random weights in the real sizes: time and memory don't depend on the weights.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from benchmarks.machine import machine
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


def embedded(dtype: torch.dtype) -> Any:
    return load_pipeline(device="cpu").to(dtype)


def sd15(dtype: torch.dtype) -> Any:
    """Stable Diffusion 1.5's UNet: 860 million parameters."""
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        cross_attention_dim=768,
        **SD15_LAYOUT,
    )
    return sd_pipeline(unet).to(dtype)


def sdxl(dtype: torch.dtype) -> Any:
    """Stable Diffusion XL's UNet: 2.6 thousand million parameters, 70 cross-attentions."""
    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        **SDXL_LAYOUT,
    )
    return sdxl_pipeline(unet).to(dtype)


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


MODELS: dict[str, Callable[[torch.dtype], Any]] = {"embedded": embedded, "sd15": sd15, "sdxl": sdxl}


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
    """One generation: seconds, bytes of memory at its peak above the start, bytes of maps that the trace kept."""

    seconds: float
    peak: int
    kept: int


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
            self._start = psutil.Process().memory_info().rss
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.005):
            self.bytes = max(self.bytes, process.memory_info().rss - self._start)

    def __exit__(self, *_: object) -> None:
        if self._is_cuda:
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._start
        else:
            self._stop.set()
            self._thread.join()


def run_once(pipeline: Any, device: str, steps: int, size: int | None, traced: bool) -> Run:
    """One generation of one picture with guidance, down to its latent."""
    generator = torch.Generator().manual_seed(0)
    arguments = {"num_inference_steps": steps, "height": size, "width": size, "generator": generator}
    tracer = trace(pipeline) if traced else None
    with PeakMemory(device) as memory:
        started = time.perf_counter()
        if tracer is None:
            pipeline(PROMPT, output_type="latent", **arguments)
        else:
            with tracer:
                pipeline(PROMPT, output_type="latent", **arguments)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return Run(seconds, memory.bytes, kept_bytes(tracer) if tracer else 0)


def kept_bytes(tracer: Tracer) -> int:
    """Size of all maps that the trace holds."""
    tensors = [maps for text in tracer.image_trace(0).texts.values() for maps in text.sums.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure(name: str, device: str, dtype: torch.dtype, steps: int, size: int | None, repeats: int) -> str:
    """A row of the table; traced and plain runs alternate, after one of each that does not count."""
    torch.manual_seed(0)
    pipeline = MODELS[name](dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for repeat in range(repeats + 1):
        for traced in (False, True):
            run = run_once(pipeline, device, steps if repeat else 1, size, traced)
            if repeat:
                runs[traced].append(run)
    plain, traced_seconds = (statistics.median(run.seconds for run in runs[traced]) for traced in (False, True))
    extra = statistics.median(run.peak for run in runs[True]) - statistics.median(run.peak for run in runs[False])
    kept = runs[True][-1].kept
    return (
        f"{name:9} {steps:5} {plain:10.2f} {traced_seconds:10.2f} {traced_seconds / plain:7.3f} "
        f"{extra / MIB:9.1f} {kept / MIB:9.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="may be repeated; default: embedded")
    parser.add_argument("--steps", action="append", type=int, help="may be repeated; default: 20 and 100")
    parser.add_argument("--size", type=int, help="side of the picture in pixels; default: the model's own")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    print(f"{machine(options.device)}; {str(dtype).removeprefix('torch.')}; medians of {options.repeats}")
    print("model     steps   plain, s  traced, s   ratio  peak, MiB  kept, MiB")
    for name in options.model or ["embedded"]:
        for steps in options.steps or [20, 100]:
            print(measure(name, options.device, dtype, steps, options.size, options.repeats), flush=True)


if __name__ == "__main__":
    main()
