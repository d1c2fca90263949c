"""Cross-attention of Forge Neo's Anima: a small network that is built and called as theirs, against its own softmax."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from daam.tracing.capture import Capture
from daam.tracing.families.forge_anima import ForgeAnima
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe

WIDTH, TEXT, COLUMNS, HEIGHT, BREADTH = 8, 6, 15, 3, 5
"""As many columns as positions, so that only where it comes from tells one attention from the other."""
SOURCE = ModuleType("anima_like_network")
PROBABILITIES: list[Tensor] = []
POSITIVE, PROBE = TextKey(0, "positive"), TextKey(0, "probe")


def attention_function(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Any = None, **_: Any) -> Tensor:
    """[batch, head, position, channel] to [batch, position, head * channel]."""
    PROBABILITIES.append((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1))
    return (PROBABILITIES[-1] @ v).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, context_width: int, heads: int) -> None:
        super().__init__()
        self.n_heads, self.head_dim = heads, WIDTH // heads
        self.q_proj, self.k_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(context_width, WIDTH)
        self.k_norm, self.v_proj = nn.RMSNorm(self.head_dim), nn.Linear(context_width, WIDTH)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        q, k, v = (
            each.flatten(1, -2).unflatten(-1, (self.n_heads, -1))
            for each in (self.q_proj(x), self.k_proj(context), self.v_proj(context))
        )
        parts = (each.transpose(1, 2) for each in (q, self.k_norm(k), v))
        attended: Tensor = vars(SOURCE)["attention_function"](*parts, self.n_heads, skip_reshape=True)
        return attended


Attention.__module__ = SOURCE.__name__


class Block(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.self_attn, self.cross_attn = Attention(WIDTH, heads), Attention(TEXT, heads)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.self_attn(x)
        return x + self.cross_attn(x, context)


class Anima(nn.Module):
    patch_spatial = 2

    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(heads), Block(heads)])
        self.embed = nn.Linear(16, WIDTH)

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, **_: Any) -> Tensor:
        kept = getattr(sys.modules.get("backend.args"), "dynamic_args", SimpleNamespace(ref_latents=[]))
        x = torch.cat([x, *(each.expand(len(x), -1, -1, -1, -1) for each in kept.ref_latents)], dim=2)
        x = nn.functional.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        patches = x.unfold(3, 2, 2).unfold(4, 2, 2).permute(0, 2, 3, 4, 1, 5, 6).flatten(4).flatten(1, 3)
        stream = self.embed(patches)
        for block in self.blocks:
            stream = block(stream, context)
        found: Tensor = stream
        return found


class EveryColumn(Probe):
    """A probe of which each token is a word."""

    @property
    def words(self) -> tuple[tuple[int, ...], ...]:
        return tuple((column,) for column in self.columns)


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SOURCE, "attention_function", attention_function, raising=False)
    monkeypatch.setitem(sys.modules, SOURCE.__name__, SOURCE)
    torch.manual_seed(0)


def traced(model: Anima, latent: Tensor, context: Tensor, columns: tuple[int, ...], probe: Any = None) -> Capture:
    """The second of two rows is of interest; what the model gives is as without."""
    capture = Capture(model, lambda call: [None, TracedText(POSITIVE, columns)], probe=probe)
    with torch.no_grad():
        plain = model(latent, torch.ones(2), context)
        PROBABILITIES.clear()
        with ExitStack() as stack:
            capture.install(stack)
            assert torch.equal(model(latent, torch.ones(2), context), plain)
    assert vars(SOURCE)["attention_function"] is attention_function
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return capture


def inputs() -> tuple[Tensor, Tensor]:
    """Of an odd size, which the model fills up; the text as the host has it."""
    return torch.randn(2, 4, 1, 2 * HEIGHT - 1, 2 * BREADTH), torch.randn(2, 1, COLUMNS, TEXT)


@pytest.mark.parametrize("references", [0, 2])
def test_maps_are_the_softmax_of_the_networks_own_cross_attention(
    references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent, context = inputs()
    kept = SimpleNamespace(ref_latents=[torch.randn(1, *latent.shape[1:])] * references)
    monkeypatch.setitem(sys.modules, "backend.args", SimpleNamespace(dynamic_args=kept))
    capture = traced(Anima(), latent, context, (1, 3))
    assert capture.fault is None
    (maps,) = capture.accumulator.on_cpu(0).values()
    assert list(maps.sums) == ["blocks.0.cross_attn", "blocks.1.cross_attn"]
    for layer, probabilities in zip(maps.sums, PROBABILITIES[1::2]):
        expected = probabilities[1].sum(0)[: HEIGHT * BREADTH, [1, 3]].T.reshape(2, HEIGHT, BREADTH)
        torch.testing.assert_close(maps.sums[layer], expected)


def test_a_word_that_is_not_in_the_prompt_has_a_key_beside_the_prompts() -> None:
    latent, context = inputs()
    columns = tuple(range(COLUMNS))
    probe = EveryColumn(context[1, 0], None, columns)  # type: ignore[arg-type]
    capture = traced(Anima(heads=1), latent, context, columns, probe)
    assert capture.fault is None
    found = capture.texts(0)
    for layer, own in found[PROBE].sums.items():
        prompt = found[POSITIVE].sums[layer]
        torch.testing.assert_close(own, prompt / (1 + prompt.sum(dim=0)))  # each key stands there twice


def test_the_host_is_shown_what_conditions_each_row_as_columns() -> None:
    latent, context = inputs()
    seen = []
    capture = Capture(Anima(), lambda call: seen.append(call.conditioning) or [None, None])  # type: ignore[func-returns-value]
    with ExitStack() as stack, torch.no_grad():
        capture.install(stack)
        capture._model(latent, torch.ones(2), context=context)
    assert torch.equal(seen[0], context[:, 0])


def test_a_video_is_refused_and_the_picture_goes_on() -> None:
    latent, context = inputs()
    capture = traced(Anima(), latent.expand(-1, -1, 2, -1, -1), context, (1,))
    assert "expected latents of pictures" in str(capture.fault)


def test_another_anima_is_not_taken_for_it() -> None:
    assert ForgeAnima.find(Anima()) is not None
    assert ForgeAnima.find(type("Anima", (nn.Module,), {})()) is None and ForgeAnima.find(nn.Linear(1, 1)) is None
