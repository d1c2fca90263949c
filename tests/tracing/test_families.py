"""A new way of attending is one file with one class, and one entry of `FAMILIES`: shown with a throw-away one."""

from __future__ import annotations

import functools
import sys
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from daam.errors import TraceError
from daam.tracing.capture import Capture
from daam.tracing.families import FAMILIES, Attended, Sight
from daam.tracing.families.base import Sample, sample_of
from daam.tracing.families.joint import JOINT_MODELS
from daam.tracing.families.joint_model import JointBlock, Places
from daam.tracing.families.seam import AttentionCall, Binding
from daam.tracing.plan import TextKey, TracedText

HEADS, CHANNELS = 2, 4
TEXT = TracedText(TextKey(0, "positive"), (0, 2))


class ImageFirst(nn.Module):
    """One joint attention in which the image's keys come before the text's, as in some diffusion transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.image_and_text_query = nn.Linear(CHANNELS, HEADS * CHANNELS)
        self.image_and_text_key = nn.Linear(CHANNELS, HEADS * CHANNELS)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        stream = torch.cat([x.flatten(2).transpose(1, 2), context], dim=1)
        query, key = self.image_and_text_query(stream), self.image_and_text_key(stream)
        query, key = (each.unflatten(-1, (HEADS, CHANNELS)).transpose(1, 2) for each in (query, key))
        self.seen.append((query @ key.transpose(-1, -2) / CHANNELS**0.5).softmax(-1).sum(1))
        return x


class ImageFirstFamily:
    """The throw-away: detection, hooks, and where the text's columns are."""

    probe_refusal: ClassVar[str | None] = "not here"
    refined_refusal: ClassVar[str | None] = "nor here"
    outputs_refusal: ClassVar[str | None] = "nor these"
    blind_spot: ClassVar[str] = "unknown"
    calls_by_side: ClassVar[bool] = False

    def __init__(self, model: Any):
        self._model = model
        self._query: Tensor | None = None

    @classmethod
    def find(cls, model: nn.Module) -> ImageFirstFamily | None:
        return cls(model) if hasattr(model, "image_and_text_query") else None

    def sample(self, arguments: Any, named: Any) -> Sample:
        return sample_of(arguments, named)

    def install(self, stack: ExitStack, sight: Sight) -> None:
        for name in ("image_and_text_query", "image_and_text_key"):
            hook = sight.guard(functools.partial(self._see, sight, name))
            stack.callback(getattr(self._model, name).register_forward_hook(hook).remove)

    def conditioning(self, arguments: Any, named: Any) -> Tensor | None:
        return None

    def replaced_self_attention(self) -> str | None:
        return None

    def begin_call(self) -> None:
        self._query = None

    def _see(self, sight: Sight, name: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if name.endswith("query"):
            self._query = output
            return
        assert self._query is not None
        height, width = sight.latent_size()
        query = self._query[:, : height * width]
        sight.see(Attended("only", query, (output,), HEADS, None, (height, width), first_column=height * width))


def test_a_throw_away_family_is_traced_with_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = ImageFirst()
    with pytest.raises(TraceError, match="none that is known"):
        Capture(model, lambda call: [])
    monkeypatch.setattr("daam.tracing.families.FAMILIES", [*FAMILIES, ImageFirstFamily])
    capture = Capture(model, lambda call: [TEXT])
    with ExitStack() as stack:
        capture.install(stack)
        for _ in range(3):
            model(torch.randn(1, CHANNELS, 3, 5), torch.randn(1, 4, CHANNELS))
    assert capture.fault is None
    found = capture.accumulator.on_cpu(0)[TEXT.key].sums["only"]
    expected = sum(seen[0, :15, [15, 17]].T.reshape(2, 3, 5) for seen in model.seen)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """An attention function as WebUIs have it: heads and channels in one axis, bound by name in the blocks' module."""
    by_head = [each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value)]
    return functional.scaled_dot_product_attention(*by_head, attn_mask=mask).transpose(1, 2).flatten(2)


class Stream(nn.Module):
    """One block of a model whose text stands behind its image."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, stream: Tensor) -> Tensor:
        query, key, value = self.to_qkv(stream).chunk(3, dim=-1)
        mask = torch.ones(1, 1, 1, stream.shape[1], dtype=torch.bool)
        mask[..., -1] = False
        return stream + attend(query.cos(), key.sin(), value, HEADS, mask)


class Streams(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleList([Stream(), Stream()])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        stream = torch.cat([x.flatten(2).transpose(1, 2), context], dim=1)
        for block in self.streams:
            stream = block(stream)
        return stream[:, : x[0, 0].numel()]


class StreamsEntry:
    """The throw-away of a kind of joint attention: blocks, bindings and places."""

    name: ClassVar[str] = "Streams"

    def __init__(self, model: Streams):
        self._model = model

    @classmethod
    def find(cls, model: nn.Module) -> StreamsEntry | None:
        return cls(model) if isinstance(model, Streams) else None

    def blocks(self) -> list[JointBlock]:
        return [JointBlock(f"streams.{number}", block) for number, block in enumerate(self._model.streams)]

    def bindings(self, block: nn.Module) -> list[Binding]:
        return [Binding(sys.modules[__name__], "attend", self._read)]

    @staticmethod
    def _read(arguments: Any, named: Any, result: Any) -> AttentionCall:
        query, key, value, heads, mask = arguments
        by_head = [each.unflatten(-1, (heads, -1)) for each in (query, key, value, result)]
        return AttentionCall(*by_head[:3], mask, None, by_head[3])

    def text_stream(self) -> None:
        return None

    def places(self, arguments: Any, named: Any) -> Places:
        x, context = arguments
        rows, _, height, width = x.shape
        image, text = height * width, context.shape[1]
        return Places(Sample(rows, height, width), (height, width), 0, image, image + text, image + text, context)


@torch.no_grad()
def test_a_throw_away_kind_of_joint_attention_is_traced_with_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, x, context = Streams(), torch.randn(1, CHANNELS, 3, 5), torch.randn(1, 4, CHANNELS)
    with pytest.raises(TraceError, match="none that is known"):
        Capture(model, lambda call: [])
    monkeypatch.setattr("daam.tracing.families.joint.JOINT_MODELS", [*JOINT_MODELS, StreamsEntry])
    capture = Capture(model, lambda call: [TEXT])
    before = model(x, context)
    with ExitStack() as stack:
        capture.install(stack)
        after = model(x, context)
    assert capture.fault is None and torch.equal(before, after)
    found = capture.accumulator.on_cpu(0)[TEXT.key].sums
    stream = torch.cat([x.flatten(2).transpose(1, 2), context], dim=1)
    for block, maps in zip(model.streams, found.values()):
        query, key, _ = block.to_qkv(stream).unflatten(-1, (3, HEADS, -1)).unbind(2)
        scores = torch.einsum("bqhc,bkhc->bhqk", query.cos(), key.sin())[..., :-1] / (CHANNELS / HEADS) ** 0.5
        expected = scores.softmax(-1).sum(1)[0, :15, [15, 17]].T.reshape(2, 3, 5)
        torch.testing.assert_close(maps, expected, rtol=1e-5, atol=1e-6)
        stream = block(stream)
    assert list(found) == ["streams.0", "streams.1"]
