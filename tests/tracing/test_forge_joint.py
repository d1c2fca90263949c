"""Joint attention of Forge's own networks: a small one that is built and called as theirs, against its own softmax."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from daam.tracing.capture import Capture
from daam.tracing.families.forge_joint import ForgeFlux, ForgeLumina
from daam.tracing.plan import TextKey, TracedText

HEADS, WIDTH, COLUMNS, PATCH = 2, 8, 5, 2
SOURCE = ModuleType("forge_like_network")
"""The Python module of their blocks, which has imported the attention function by name."""


def attention_function(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Any = None, **_: Any) -> Tensor:
    """[batch, head, position, channel] to [batch, position, head * channel]."""
    PROBABILITIES.append((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1))
    return (PROBABILITIES[-1] @ v).transpose(1, 2).flatten(2)


PROBABILITIES: list[Tensor] = []
vars(SOURCE)["attention_function"] = attention_function


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, joined: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(joined).chunk(3, dim=-1))
        attended: Tensor = vars(SOURCE)["attention_function"](q, k, v, HEADS, skip_reshape=True, mask=None)
        return joined + attended


Block.__module__ = SOURCE.__name__


class _Network(nn.Module):
    patch_size = PATCH
    multiple: int | None = None

    def __init__(self) -> None:
        super().__init__()
        for name in self.names:
            setattr(self, name, nn.ModuleList([Block(), Block()]))
        self.embed = nn.Linear(4 * PATCH**2, WIDTH)

    names: tuple[str, ...] = ()

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, ref_latents: Any = None, **_: Any) -> Tensor:
        kept = getattr(sys.modules.get("backend.args"), "dynamic_args", None)
        others = [
            self._patches(each.expand(len(x), -1, -1, -1)) for each in ref_latents or getattr(kept, "ref_latents", ())
        ]
        joined = torch.cat([self._filled(context), self._filled(self._patches(x)), *others], dim=1)
        for name in self.names:
            for block in getattr(self, name):
                joined = block(joined)
        return joined

    def _patches(self, x: Tensor) -> Tensor:
        image = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        found: Tensor = self.embed(image)
        return found

    def _filled(self, tensor: Tensor) -> Tensor:
        missing = -tensor.shape[1] % self.multiple if self.multiple else 0
        return torch.cat([tensor, tensor.new_ones(len(tensor), missing, WIDTH)], dim=1)


class IntegratedFluxTransformer2DModel(_Network):
    names = ("double_blocks", "single_blocks")


class NextDiT(_Network):
    names = ("layers",)
    multiple = pad_tokens_multiple = 4


@pytest.mark.parametrize("references", ["none", "in the call", "beside the call"])
@pytest.mark.parametrize(
    ("network", "kind", "layers"),
    [
        (
            IntegratedFluxTransformer2DModel,
            ForgeFlux,
            ["double_blocks.0", "double_blocks.1", "single_blocks.0", "single_blocks.1"],
        ),
        (NextDiT, ForgeLumina, ["layers.0", "layers.1"]),
    ],
    ids=["Flux", "Z-Image"],
)
def test_maps_are_the_softmax_of_the_networks_own_attention(
    network: type[_Network], kind: Any, layers: list[str], references: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the picture that is made: pictures that it refers to have positions behind its own (Kontext)."""
    if references != "none" and kind is not ForgeFlux:
        pytest.skip("only Flux has them")
    torch.manual_seed(0)
    given: dict[str, Any] = {"ref_latents": [torch.randn(1, 4, 4, 6)]} if references == "in the call" else {}
    if references == "beside the call":
        beside = SimpleNamespace(ref_latents=[torch.randn(1, 4, 4, 6), torch.randn(1, 4, 2, 2)])
        monkeypatch.setitem(sys.modules, "backend.args", SimpleNamespace(dynamic_args=beside))
    model = network()
    assert kind.find(model) is not None and kind.find(nn.Linear(1, 1)) is None
    monkeypatch.setitem(sys.modules, SOURCE.__name__, SOURCE)
    text = TracedText(TextKey(0, "positive"), (1, 3))
    capture = Capture(model, lambda call: [None, text])
    latent, context = torch.randn(2, 4, 6, 10), torch.randn(2, COLUMNS, WIDTH)
    with torch.no_grad():
        PROBABILITIES.clear()
        plain = model(latent, torch.ones(2), context=context, **given)
        PROBABILITIES.clear()
        with ExitStack() as stack:
            capture.install(stack)
            traced = model(latent, torch.ones(2), context=context, **given)
    assert torch.equal(plain, traced) and vars(SOURCE)["attention_function"] is attention_function
    assert capture.fault is None
    (maps,) = capture.accumulator.on_cpu(0).values()
    assert list(maps.sums) == layers
    first = COLUMNS + (-COLUMNS % model.multiple if model.multiple else 0)
    for layer, probabilities in zip(layers, PROBABILITIES):
        expected = probabilities[1].sum(0)[first : first + 15][:, [1, 3]].T.reshape(2, 3, 5)
        torch.testing.assert_close(maps.sums[layer], expected)
