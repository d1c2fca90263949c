"""Joint attention of Forge's own networks: a small one that is built and called as theirs, against its own softmax."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from daam.errors import TraceError
from daam.tracing.capture import Capture
from daam.tracing.families.forge_joint import ForgeFlux, ForgeKrea, ForgeLumina, ForgeQwen
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe

HEADS, WIDTH, COLUMNS, PATCH = 2, 8, 5, 2
SOURCE = ModuleType("forge_like_network")
"""The Python module of their blocks, which has imported the attention function by name."""


def attention_function(
    q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Any = None, skip_reshape: bool = False
) -> Tensor:
    """[batch, head, position, channel] to [batch, position, head * channel]; or such ones with heads not apart yet."""
    if not skip_reshape:
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
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


class QwenBlock(nn.Module):
    """With a stream for the picture and one for the text; it gives the text first."""

    def __init__(self) -> None:
        super().__init__()
        self.img_qkv, self.txt_qkv = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3 * WIDTH)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Any,
        temb: Tensor,
        image_rotary_emb: Tensor,
    ) -> tuple[Tensor, Tensor]:
        img, txt = hidden_states, encoder_hidden_states
        joined = torch.cat([self.txt_qkv(txt * temb), self.img_qkv(img * temb)], dim=1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in joined.chunk(3, dim=-1))
        parts = (q * image_rotary_emb).flatten(2), (k * image_rotary_emb).flatten(2), v.flatten(2)
        attended: Tensor = vars(SOURCE)["attention_function"](*parts, HEADS, None)
        return txt + attended[:, : txt.shape[1]], img + attended[:, txt.shape[1] :]


QwenBlock.__module__ = SOURCE.__name__


class QwenImageTransformer2DModel(_Network):
    names = ("transformer_blocks",)

    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([QwenBlock(), QwenBlock()])
        self.txt_norm, self.txt_in = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.pe_embedder = nn.Identity()

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, ref_latents: Any = None, **_: Any) -> Tensor:
        txt, img = self.txt_in(self.txt_norm(context)), self._patches(x[:, :, 0])  # latents of one point in time
        rotary = torch.linspace(0.5, 1.5, txt.shape[1] + img.shape[1])[None, :, None, None]
        for block in self.transformer_blocks:
            txt, img = block(
                hidden_states=img,
                encoder_hidden_states=txt,
                encoder_hidden_states_mask=None,
                temb=timestep[:, None, None],
                image_rotary_emb=rotary,
            )
        return torch.cat([txt, img], dim=1)


class SingleStreamDiT(_Network):
    """Krea 2's: its text has an axis more, and its latents a time."""

    names = ("blocks",)
    txtfusion = None

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, ref_latents: Any = None, **_: Any) -> Tensor:
        return super().forward(x[:, :, 0], timestep, context.squeeze(1))


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
        (QwenImageTransformer2DModel, ForgeQwen, ["transformer_blocks.0", "transformer_blocks.1"]),
        (SingleStreamDiT, ForgeKrea, ["blocks.0", "blocks.1"]),
    ],
    ids=["Flux", "Z-Image", "Qwen-Image", "Krea 2"],
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
    latent = latent[:, :, None] if kind in (ForgeQwen, ForgeKrea) else latent
    context = context[:, None] if kind is ForgeKrea else context
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


class DoubleBlock(nn.Module):
    """With a stream for the picture and one for the text, into which it writes as Forge Neo's does."""

    def __init__(self) -> None:
        super().__init__()
        self.img_qkv, self.txt_qkv = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3 * WIDTH)

    def forward(
        self, img: Tensor, txt: Tensor, vec: Tensor, pe: Tensor, attn_mask: Any = None
    ) -> tuple[Tensor, Tensor]:
        joined = torch.cat([self.txt_qkv(txt * vec), self.img_qkv(img * vec)], dim=1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in joined.chunk(3, dim=-1))
        attended: Tensor = vars(SOURCE)["attention_function"](q * pe, k * pe, v, HEADS, skip_reshape=True)
        txt += attended[:, : txt.shape[1]]
        img += attended[:, txt.shape[1] :]
        return img, txt


DoubleBlock.__module__ = SOURCE.__name__


class IntegratedChromaTransformer2DModel(IntegratedFluxTransformer2DModel):
    """With the streams apart, rotary positions, and a text that goes through a layer before the first block."""

    def __init__(self) -> None:
        super().__init__()
        self.double_blocks = nn.ModuleList([DoubleBlock(), DoubleBlock()])
        self.txt_in = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, mask: Any = None, **_: Any) -> Tensor:  # type: ignore[override]
        img, txt = self._patches(x), self.txt_in(context)
        pe = torch.linspace(0.5, 1.5, txt.shape[1] + img.shape[1])[None, None, :, None]
        for block in self.double_blocks:
            img, txt = block(img=img, txt=txt, vec=timestep[:, None, None], pe=pe, attn_mask=mask)
        joined = torch.cat([txt, img], dim=1)
        for block in self.single_blocks:
            joined = block(joined)
        return joined


class EveryColumn(Probe):
    """A probe of which each token is a word."""

    @property
    def words(self) -> tuple[tuple[int, ...], ...]:
        return tuple((column,) for column in self.columns)


def call_with_own_words(
    monkeypatch: pytest.MonkeyPatch, network: type[_Network] = IntegratedChromaTransformer2DModel, **given: Any
) -> tuple[Capture, bool]:
    """One call of a model that is probed with the columns of its own text; and whether it gave what it gives alone."""
    monkeypatch.setitem(sys.modules, SOURCE.__name__, SOURCE)
    torch.manual_seed(1)
    model = network()
    latent, context, columns = torch.randn(2, 4, 6, 10), torch.randn(2, COLUMNS, WIDTH), tuple(range(COLUMNS))
    latent = latent[:, :, None] if network is QwenImageTransformer2DModel else latent
    text = TracedText(TextKey(0, "positive"), columns, output_words=tuple((column,) for column in columns))
    probe = EveryColumn(context[0], None, columns)  # type: ignore[arg-type]
    capture = Capture(model, lambda call: [text, None], probe=probe, keep_outputs=True)
    with torch.no_grad():
        plain = model(latent, torch.tensor([1.0, 2.0]), context, **given)
        with ExitStack() as stack:
            capture.install(stack)
            traced = model(latent, torch.tensor([1.0, 2.0]), context, **given)
    return capture, torch.equal(plain, traced)


@pytest.mark.parametrize(
    ("network", "blocks"),
    [(IntegratedChromaTransformer2DModel, "double_blocks"), (QwenImageTransformer2DModel, "transformer_blocks")],
)
def test_a_text_beside_the_prompt_that_is_the_prompt_gets_what_the_prompt_gets(
    network: type[_Network], blocks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, is_same = call_with_own_words(monkeypatch, network)
    assert is_same and capture.fault is None
    found = capture.texts(0)
    own, prompt = found[TextKey(0, "probe")], found[TextKey(0, "positive")]
    assert list(own.sums) == list(own.outputs) == [f"{blocks}.0", f"{blocks}.1"]
    for layer in own.sums:
        torch.testing.assert_close(own.outputs[layer], prompt.outputs[layer])
        assert own.sums[layer].shape == prompt.sums[layer].shape


def test_words_beside_the_prompt_are_refused_where_a_mask_hides_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    capture, is_same = call_with_own_words(monkeypatch, mask=torch.ones(1))
    assert is_same and "which positions not to see" in str(capture.fault)


def test_words_beside_the_prompt_are_refused_in_one_stream() -> None:
    with pytest.raises(TraceError, match="as in Flux; Lumina 2 or Z-Image in Forge Neo has none that is known"):
        Capture(NextDiT(), lambda call: [], probe=EveryColumn(torch.ones(1, WIDTH), None, (0,)))  # type: ignore[arg-type]


def test_others_of_the_same_name_are_not_known_as_the_hosts() -> None:
    for network, kind, name in (
        (QwenImageTransformer2DModel, ForgeQwen, "pe_embedder"),
        (SingleStreamDiT, ForgeKrea, "txtfusion"),
    ):
        others = type(network.__name__, (nn.Module,), {})()
        assert kind.find(others) is None
        setattr(others, name, nn.Identity())
        assert kind.find(others) is not None


def test_pictures_that_qwen_image_edits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in its prompt too, so that its columns are not those of the words."""
    monkeypatch.setitem(sys.modules, SOURCE.__name__, SOURCE)
    model = QwenImageTransformer2DModel()
    capture = Capture(model, lambda call: [TracedText(TextKey(0, "positive"), (1,))])
    with torch.no_grad(), ExitStack() as stack:
        capture.install(stack)
        model(torch.ones(1, 4, 1, 4, 4), torch.ones(1), torch.ones(1, COLUMNS, WIDTH), ref_latents=[torch.ones(1)])
    assert "the prompt has pictures in it" in str(capture.fault)
