"""A new way of attending is one file with one class, and one entry of `FAMILIES`: shown with a throw-away one."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from daam.errors import TraceError
from daam.tracing.capture import Capture
from daam.tracing.families import FAMILIES, Attended, Sight
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

    def __init__(self, model: Any):
        self._model = model
        self._query: Tensor | None = None

    @classmethod
    def find(cls, model: nn.Module) -> ImageFirstFamily | None:
        return cls(model) if hasattr(model, "image_and_text_query") else None

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
