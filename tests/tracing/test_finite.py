"""A model that gives NaN: the maps are refused, and the layer that began it is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import daam
from daam.errors import TraceError
from daam.tracing.accumulator import Accumulator, Contribution
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


def test_only_the_picture_that_has_it_is_refused() -> None:
    texts = [TracedText(TextKey(image, "positive"), (1, 2)) for image in range(2)]
    accumulator = Accumulator()
    for call in range(3):
        maps = [torch.ones(2, 4, 4), torch.ones(2, 4, 4)]
        maps[1][0, 0, 0] = float("nan") if call == 1 else 1
        found = [("only", Contribution(text, each, None, 1)) for text, each in zip(texts, maps)]
        for layer, contribution in found:
            accumulator.add(layer, contribution, call)
        accumulator.end_call(found, call)
    assert accumulator.on_cpu(0)[texts[0].key].sums["only"].sum() == 3 * 32
    with pytest.raises(TraceError, match="of only is not finite .* from model call 2 on"):
        accumulator.on_cpu(1)


def test_nothing_is_read_from_the_device_while_the_model_samples() -> None:
    """What reads a number back is `_local_scalar_dense` or `item`; neither is among the calls."""
    seen: list[str] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    text = TracedText(TextKey(0, "positive"), (1, 2))
    found = [(f"layer {n}", Contribution(text, torch.rand(2, 4, 4), None, 1)) for n in range(16)]
    accumulator = Accumulator()
    with Recorder():
        for call in range(2):
            accumulator.end_call(found, call)
    assert not any("scalar" in name or "item" in name or "nonzero" in name for name in seen), seen
    assert len(seen) <= 2 * 16, seen  # of all layers together: less than one for each layer and call
