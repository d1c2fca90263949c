"""Which transformers' sizes are watched, and that maps are those of sizes that are watched in every call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import daam
from daam.tracing.capture import Capture
from daam.tracing.families.cross_attention import find_cross_attention_layers
from daam.tracing.families.spatial_sizes import SpatialSizes
from daam.tracing.plan import TextKey, TracedText
from tests.pipelines import run, sd1

TEXT = TracedText(TextKey(0, "positive"), (1, 2))


class Attention(nn.Module):
    heads = 2

    def __init__(self, context: int):
        super().__init__()
        self.to_q, self.to_k = nn.Linear(8, 8), nn.Linear(context, 8)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        query, key = self.to_q(hidden), self.to_k(context)
        return hidden + (query @ key.mT).softmax(-1) @ key


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1, self.attn2 = Attention(8), Attention(4)


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([Block(), Block()])

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        rows = hidden.flatten(2).mT
        for block in self.transformer_blocks:
            rows = block.attn2(block.attn1(rows, rows), context)
        return rows.mT.reshape(hidden.shape)


class Stages(nn.Module):
    """Transformers at the size of the latents, at a half and at a quarter, and back, as a UNet has them.

    Attributes:
        shrinks: the second size is a quarter and the third an eighth, as deep shrink has it.
        skips: only the last one runs, as where deep features are kept from the step before (DeepCache).
    """

    shrinks = skips = False

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = (nn.ModuleList(Transformer() for _ in range(6)) for _ in range(2))

    def forward(self, sample: Tensor, timestep: int, context: Tensor) -> Tensor:
        factors = (1, 4, 8) if self.shrinks else (1, 2, 4)
        hidden, size = sample, sample.shape[-2:]
        if not self.skips:
            for stages, order in ((self.down, (0, 0, 1, 1, 2, 2)), (self.up, (2, 2, 1, 1, 0))):
                for stage, place in zip(stages, order):
                    factor = factors[place]
                    hidden = stage(functional.adaptive_avg_pool2d(hidden, [side // factor for side in size]), context)
        return self.up[-1](functional.adaptive_avg_pool2d(hidden, size), context)


Call = dict[str, Any]
GENERATIONS: dict[str, list[Call]] = {
    "plain": [{}] * 4,
    "deep shrink": [{"shrinks": True}] * 3 + [{}] * 3,
    "deep shrink that begins later": [{}] * 3 + [{"shrinks": True}] * 3 + [{}] * 2,
    "hires pass": [{}] * 3 + [{"size": (32, 48)}] * 3,
    "hires pass of the other way round": [{}] * 3 + [{"size": (24, 16)}] * 3,
    "deep shrink in a hires pass": [{}] * 3 + [{"size": (32, 48), "shrinks": True}] * 3 + [{"size": (32, 48)}] * 2,
    "deep features are kept": [{}] * 2 + [{"skips": True}, {}] * 3,
    "the first call is cut": [{"skips": True}] + [{}] * 3,
}


def watched(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules() if isinstance(module, Transformer))


def sums_of(model: Stages, calls: Sequence[Call]) -> tuple[dict[str, Tensor], list[int]]:
    """The sums of each layer and size, and how many transformers were watched after each call."""
    capture, counts = Capture(model, lambda call: [None, TEXT]), []
    context = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    with ExitStack() as stack, torch.no_grad():
        capture.install(stack)
        for number, call in enumerate(calls):
            model.shrinks, model.skips = call.get("shrinks", False), call.get("skips", False)
            height, width = call.get("size", (16, 24))
            model(torch.randn(2, 8, height, width, generator=torch.Generator().manual_seed(number)), number, context)
            counts.append(watched(model))
        assert capture.fault is None
        found = capture.texts(0)[TEXT.key].sums
    assert watched(model) == 0
    return found, counts


@pytest.mark.parametrize("generation", GENERATIONS)
def test_maps_are_those_of_sizes_that_are_watched_in_every_call(
    generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, calls = Stages(), GENERATIONS[generation]
    found, counts = sums_of(model, calls)
    monkeypatch.setattr(SpatialSizes, "_learn", lambda _self: None)
    expected, every = sums_of(model, calls)
    assert set(every) == {12} and counts[0] == 12
    assert {tensor.shape for tensor in found.values()} == {tensor.shape for tensor in expected.values()}
    assert found.keys() == expected.keys() and all(torch.equal(found[layer], expected[layer]) for layer in expected)
    if generation == "plain":
        assert counts == [12, 3, 3, 3], "one of each size"
    if generation == "hires pass":
        assert counts == [12, 3, 3, 12, 3, 3], "other latents, other sizes"


def test_a_layer_at_other_positions_than_its_size_is_refused_in_later_calls_too() -> None:
    """As where tokens are merged: here in a transformer that is not watched any more."""
    model, merges = Stages(), []
    layer = find_cross_attention_layers(model)[-1]

    def merge(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return (arguments[0][:, ::4], *arguments[1:]) if merges else None

    capture = Capture(model, lambda call: [TEXT])
    with ExitStack() as stack, torch.no_grad():
        capture.install(stack)
        for number in range(3):
            model(torch.randn(1, 8, 16, 16), number, torch.randn(1, 5, 4))
        stack.callback(layer.attention.register_forward_pre_hook(merge).remove)
        stack.callback(layer.attention.register_forward_hook(lambda *_: torch.zeros(1, 256, 8)).remove)
        assert watched(model) == 3
        merges.append(True)
        model(torch.randn(1, 8, 16, 16), 3, torch.randn(1, 5, 4))
    assert "expected 16x16 image positions" in str(capture.fault) and "got 64" in str(capture.fault)


def test_a_hook_that_is_removed_while_another_thread_runs_the_transformer_does_not_cost_the_picture() -> None:
    """By then torch may have begun to go through the transformer's hooks."""
    model = Stages()
    capture = Capture(model, lambda call: [TEXT])
    with ExitStack() as stack, torch.no_grad():
        capture.install(stack)
        hooks = capture.family._sizes._hooks  # type: ignore[attr-defined]
        for spatial, hook in hooks.items():
            stack.callback(spatial.register_forward_pre_hook(lambda *_, hook=hook: hook.remove(), prepend=True).remove)
        model(torch.randn(1, 8, 16, 16), 0, torch.randn(1, 5, 4))
        assert watched(model) == 12, "only those of this test"
    assert capture.fault is None and capture.texts(0)


def test_a_pipelines_transformers_are_not_watched_after_the_trace() -> None:
    pipeline = sd1()
    hooks = [layer.spatial._forward_pre_hooks for layer in find_cross_attention_layers(pipeline.unet)]
    with daam.trace(pipeline):
        assert all(len(each) == 1 for each in hooks)
        run(pipeline, "a circle", num_inference_steps=4)
        assert 0 < sum(map(len, hooks)) < len(hooks)
    assert sum(map(len, hooks)) == 0
