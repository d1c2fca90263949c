"""On a CUDA device, in half precision: what can only be seen there. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import daam
from benchmarks.launch_bound import PROBE, ModelCalls
from benchmarks.overhead import MIB, PROMPT, PeakMemory
from daam.hosts.diffusers_trace import Tracer
from tests.pipelines import FAMILIES, run, sd1
from tests.truth import truth_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def same_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same convolutions each time, so that pictures can be compared bit by bit."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def on_cuda(family: str = "sd1") -> Any:
    return FAMILIES[family]().to("cuda", torch.float16)


@pytest.mark.parametrize("probe", ["", "grass"])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_of_a_picture_changes(family: str, probe: str) -> None:
    pipeline = on_cuda(family)
    before = run(pipeline, "a red circle", negative_prompt="ugly")
    with daam.trace(pipeline, probe=probe, keep="refined") as tracer:
        traced = run(pipeline, "a red circle", negative_prompt="ugly")
    assert (before == traced).all() and (before == run(pipeline, "a red circle", negative_prompt="ugly")).all()
    assert tracer.heat_maps()["circle"].values.max() > 0


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (72, 64)])
@pytest.mark.parametrize("family", FAMILIES)
def test_sums_are_those_of_the_queries_and_keys_in_double_precision(family: str, size: tuple[int, int]) -> None:
    pipeline = on_cuda(family)
    with daam.trace(pipeline) as tracer, truth_of(pipeline.unet) as truth:
        run(pipeline, "a red circle", height=size[0], width=size[1])
    truth.check(tracer, 1, [1, 2, 3])


def test_layers_worked_off_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = on_cuda()
    with daam.trace(pipeline) as whole:
        run(pipeline, "a red circle")
    monkeypatch.setattr("daam.tracing.layout.CHUNK_ELEMENTS", 4096)
    with daam.trace(pipeline) as parts, without_waiting(pipeline, parts):
        run(pipeline, "a red circle", num_inference_steps=3)
        run(pipeline, "a red circle")
    first, second = (tracer.heat_maps()["circle"].values for tracer in (whole, parts))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4 * first.max())


@contextmanager
def without_waiting(pipeline: Any, tracer: Tracer) -> Iterator[None]:
    """While the UNet runs, from its second call in a generation on, whatever waits for the device is an error."""

    def begin(*_: Any) -> None:
        if tracer._capture.calls:
            torch.cuda.set_sync_debug_mode("error")

    def end(*_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")

    hooks = [
        pipeline.unet.register_forward_pre_hook(begin, prepend=True),
        pipeline.unet.register_forward_hook(end),
    ]
    try:
        yield
    finally:
        end()
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("keep", [(), ("steps", "heads"), ("refined",)])
@pytest.mark.parametrize("probe", ["", "grass"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_traced_call_of_the_model_does_not_wait_for_the_device(family: str, probe: str, keep: tuple[str]) -> None:
    pipeline = on_cuda(family)
    with daam.trace(pipeline, probe=probe, keep=keep) as tracer, without_waiting(pipeline, tracer):
        run(pipeline, "a red circle", num_inference_steps=70, output_type="latent")  # what is seen is reduced after 64
    assert tracer.heat_maps()["circle"].values.max() > 0


def _wait(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
    output.sum().item()


def test_waiting_would_be_noticed() -> None:
    pipeline = on_cuda()
    pipeline.unet.mid_block.register_forward_hook(_wait)
    with daam.trace(pipeline) as tracer, without_waiting(pipeline, tracer), pytest.raises(RuntimeError, match="sync"):
        run(pipeline, "a red circle")


@pytest.mark.parametrize("probe", ["", PROBE])
def test_memory_stays_within_its_bounds(probe: str) -> None:
    """Of SDXL's layout at tiny sizes, whose maps are small: what is held at once, and no more after more calls."""
    calls = ModelCalls("sdxl", 1, "cuda", torch.float16)

    def peak(number: int) -> int:
        with PeakMemory("cuda") as memory:
            for _ in range(number):
                calls.call()
        return memory.bytes

    plain = peak(2)
    with calls.traced(lambda pipeline: daam.trace(pipeline, probe=probe)):
        few, many = peak(5), peak(50)
    assert many <= few + MIB and few <= plain + 32 * MIB


def test_a_large_picture_takes_no_more_than_its_budget() -> None:
    """Positions of 1024×1024 in SD 1's finest layers; 64 MiB of queries and keys and 32 MiB in any tensor besides."""
    pipeline = sd1(sample_size=128, block_out_channels=(64, 64), attention_head_dim=(8, 8)).to("cuda", torch.float16)
    latents = {"height": 1024, "width": 1024, "output_type": "latent", "num_inference_steps": 2}
    peaks = []
    for tracer in (None, daam.trace(pipeline)):
        run(pipeline, PROMPT, **latents)
        with PeakMemory("cuda") as memory:
            if tracer is None:
                run(pipeline, PROMPT, **latents)
            else:
                with tracer:
                    run(pipeline, PROMPT, **latents)
        peaks.append(memory.bytes)
    assert peaks[1] - peaks[0] <= 256 * MIB
    assert tracer is not None and tracer.heat_maps()["cat"].values.max() > 0
