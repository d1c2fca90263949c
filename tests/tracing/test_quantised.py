"""Models whose weights are kept in fewer bits, and made whole again in each layer when it runs: traced as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import daam

pytest.importorskip("diffusers", minversion="0.42", reason="older ones lack Flux, and casting layer by layer")

from tests import joint_pipelines
from tests.joint_models import joint_truth
from tests.pipelines import run, sd1, sdxl
from tests.truth import truth_of

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="bitsandbytes packs four bits on a GPU")


def eight_bits(model: nn.Module) -> None:
    """As `enable_layerwise_casting` of diffusers does it: cast before a layer runs and back behind it."""
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert any(weight.dtype is torch.float8_e4m3fn for weight in model.parameters())


def four_bits(model: nn.Module) -> None:
    """NF4, as WebUIs and `BitsAndBytesConfig` have it."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    linear = [(name, layer) for name, layer in model.named_modules() if type(layer) is nn.Linear and "block" in name]
    assert linear
    for name, layer in linear:
        packed = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, torch.float32, quant_type="nf4"
        )
        packed.weight = bitsandbytes.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        model.set_submodule(name, packed)
    model.to("cuda")
    assert any(weight.dtype is torch.uint8 for weight in model.parameters())


KINDS = [pytest.param(eight_bits, "cpu", id="eight bits"), pytest.param(four_bits, "cuda", marks=CUDA, id="four bits")]


@pytest.mark.parametrize("probe", ["", "grass"])
@pytest.mark.parametrize("make", [sd1, sdxl])
@pytest.mark.parametrize(("quantise", "device"), KINDS)
def test_a_unet_with_fewer_bits_is_traced_as_it_is(
    quantise: Callable[[nn.Module], None], device: str, make: Callable[[], Any], probe: str
) -> None:
    pipeline = make()
    quantise(pipeline.unet)
    pipeline.to(device)
    before = run(pipeline, "a red circle", num_inference_steps=4)
    with daam.trace(pipeline, probe=probe) as tracer, truth_of(pipeline.unet) as truth:
        assert (run(pipeline, "a red circle", num_inference_steps=4) == before).all()
    truth.check(tracer, 1, [1, 2, 3])
    assert not probe or tracer.heat_maps(side="probe")["grass"].values.max() > 0


@pytest.mark.parametrize(("quantise", "device"), KINDS)
def test_joint_attention_with_fewer_bits_is_traced_as_it_is(quantise: Callable[[nn.Module], None], device: str) -> None:
    pipeline = joint_pipelines.flux()
    quantise(pipeline.transformer)
    pipeline.to(device)
    before = run(pipeline, "a red circle", num_inference_steps=4)
    blocks = ["transformer_blocks.0", "single_transformer_blocks.0"]
    with daam.trace(pipeline) as tracer, joint_truth(pipeline.transformer, blocks) as truth:
        assert (run(pipeline, "a red circle", num_inference_steps=4) == before).all()
    (maps,) = tracer.image_trace(0).texts.values()
    for block in blocks:
        found = maps.sums[block].flatten(1).double()
        image_on_text = sum(call[0] for call in truth.probabilities[block])[-found.shape[1] :, list(maps.text.columns)]
        torch.testing.assert_close(found, image_on_text.T.cpu(), rtol=1e-5, atol=1e-5)
