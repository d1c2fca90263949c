"""Joint attention as in the WebUI's SD3: text and image in one softmax, patches of the latent as positions."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from daam.errors import TraceError
from daam.prompt import PromptTable
from daam.tracing.capture import Capture
from daam.tracing.plan import ModelCall, TextKey, TracedText
from daam.tracing.probe import Probe

HEADS, CHANNELS, PATCH = 2, 8, 2
TEXT = TracedText(TextKey(0, "positive"), (1, 3))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(HEADS * CHANNELS, 3 * HEADS * CHANNELS)
        self.ln_q, self.ln_k = nn.LayerNorm(CHANNELS), nn.Identity()

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, CHANNELS)).unbind(2)
        return self.ln_q(q), self.ln_k(k), v


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = Attention()


class Joint(nn.Module):
    """One block: the text's projections first, then the image's; keeps the probabilities it used."""

    def __init__(self) -> None:
        super().__init__()
        self.joint_blocks = nn.ModuleList([nn.Module()])
        self.joint_blocks[0].context_block, self.joint_blocks[0].x_block = Block(), Block()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        image = functional.unfold(x, PATCH, stride=PATCH).transpose(1, 2)[..., : HEADS * CHANNELS]
        text = self.joint_blocks[0].context_block.attn.project(context)
        own = self.joint_blocks[0].x_block.attn.project(image)
        q, k, v = (torch.cat(pair, dim=1).transpose(1, 2) for pair in zip(text, own))
        probabilities = (q @ k.transpose(-1, -2) / CHANNELS**0.5).softmax(-1)
        self.seen.append(probabilities[:, :, context.shape[1] :])
        return (probabilities @ v).sum()


@pytest.mark.parametrize("size", [(8, 12), (6, 10)])
def test_maps_are_the_image_rows_of_the_joint_softmax(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model, stack = Joint(), ExitStack()
    calls: list[ModelCall] = []

    def plan(call: ModelCall) -> list[TracedText | None]:
        calls.append(call)
        return [TEXT, None]

    capture = Capture(model, plan)
    with stack:
        capture.install(stack)
        for _ in range(2):
            model(torch.randn(2, 4, *size), torch.randn(2, 5, HEADS * CHANNELS))
    assert capture.fault is None and calls[0] == ModelCall(2, *size)
    maps = capture.accumulator.on_cpu(0)[TEXT.key]
    expected = sum(seen[0].sum(dim=0)[:, [1, 3]].T for seen in model.seen)
    assert maps.heads == {"joint_blocks.0": HEADS}
    found = maps.sums["joint_blocks.0"]
    assert found.shape[1:] == (size[0] // PATCH, size[1] // PATCH)
    torch.testing.assert_close(found.flatten(1), expected.detach(), rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_probing_a_joint_model_is_refused() -> None:
    probe = Probe(torch.zeros(1, 4), PromptTable("dog", ()))
    with pytest.raises(TraceError, match="joint attention"):
        Capture(Joint(), lambda call: [], probe=probe)
