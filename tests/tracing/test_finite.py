"""A model that gives NaN: the maps are refused, and the layer that began it is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import daam
from daam.errors import TraceError
from daam.tracing.accumulator import Accumulator
from daam.tracing.block import Block, Legend, Share
from daam.tracing.families.cross_attention import find_cross_attention_layers
from daam.tracing.plan import TextKey, TracedText
from tests.pipelines import run, sd1


def spoil(pipeline: Any, layer: str, *, from_call: int, value: float = float("nan")) -> Any:
    """Makes one layer's key hold a value that is not finite from one call on (0 is the first)."""
    calls = 0

    def change(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls <= from_call:
            return output
        return output.index_fill(-1, torch.tensor([0]), value)

    return pipeline.unet.get_submodule(layer).to_k.register_forward_hook(change)


def names(pipeline: Any) -> list[str]:
    return [layer.name for layer in find_cross_attention_layers(pipeline.unet)]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("from_call", [0, 2])
def test_the_layer_that_began_it_is_named(place: int, from_call: int) -> None:
    pipeline = sd1()
    layer = names(pipeline)[place]
    spoil(pipeline, layer, from_call=from_call)
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle", num_inference_steps=4)
    with pytest.raises(TraceError, match="is not finite") as caught:
        tracer.heat_maps()
    assert f"of {layer} is" in str(caught.value) and f"model call {from_call + 1} on" in str(caught.value)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_weights_that_are_not_finite_are_named_too_and_the_next_generation_is_whole() -> None:
    pipeline = sd1()
    projection = pipeline.unet.get_submodule(names(pipeline)[1]).to_q
    kept = projection.weight.detach().clone()
    with daam.trace(pipeline) as tracer:
        projection.weight.data[0, 0] = float("inf")
        run(pipeline, "a circle")
        with pytest.raises(TraceError, match=names(pipeline)[1]):
            tracer.heat_maps()
        projection.weight.data.copy_(kept)
        run(pipeline, "a circle")
    assert np.isfinite(tracer.heat_maps()["circle"].values).all()


def block_of(layers: tuple[str, ...], images: int) -> Block:
    """Ones, of two columns and 16 positions for each picture."""
    texts = [TracedText(TextKey(image, "positive"), (1, 2)) for image in range(images)]
    legend = Legend(tuple(Share(text, row, (0, 1)) for row, text in enumerate(texts)), (4, 4), 1)
    return Block(legend, layers, torch.ones(len(layers), images, 16, 2))


def test_only_the_picture_that_has_it_is_refused() -> None:
    accumulator, block = Accumulator(), block_of(("first", "second"), images=2)
    for call in range(150):
        sums = block.sums.clone()
        if call == 120:
            sums[1, 1, 3, 0] = float("nan")
        accumulator.add([replace(block, sums=sums)], ("second", "first"), step=call, call=call)
    (maps,) = accumulator.on_cpu(0).values()
    assert maps.sums["second"].sum() == 150 * 32
    with pytest.raises(TraceError, match="of second is not finite .* from model call 121 on"):
        accumulator.on_cpu(1)


def test_of_layers_that_fail_in_one_call_the_first_to_run_is_named() -> None:
    accumulator = Accumulator()
    for layer in ("late", "early"):
        block = block_of((layer,), images=1)
        accumulator.add([replace(block, sums=block.sums * float("nan"))], ("early", "late"), step=0, call=0)
    with pytest.raises(TraceError, match="of early is not finite"):
        accumulator.on_cpu(0)


def test_nothing_is_read_from_the_device_while_the_model_samples() -> None:
    """What reads a number back is `_local_scalar_dense` or `item`; neither is among the calls."""
    seen: list[str] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    layers = tuple(f"layer {number}" for number in range(16))
    accumulator, block = Accumulator(), block_of(layers, images=1)
    with Recorder():
        for call in range(2):
            accumulator.add([block], layers, step=call, call=call)
    assert not any("scalar" in name or "item" in name or "nonzero" in name for name in seen), seen
    assert len(seen) <= 4, seen  # of all layers of a shape together
