"""Joint attention of Forge's and Forge Neo's own networks: one class for each kind. Nothing of the hosts is imported.

Their blocks call `attention_function`, which each of their modules has imported by name, with queries and keys that
have their norms and rotary positions: [batch, head, position, channel], or [batch, position, head * channel].
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from daam.errors import ShapeError, TraceError
from daam.tracing.families.base import Sample, argument, first_input
from daam.tracing.families.forge_stream import ForgeQwenStream, ForgeStream
from daam.tracing.families.joint_model import JointBlock, JointModel, Places, TextStream, blocks_of_lists
from daam.tracing.families.seam import AttentionCall, Binding

FUNCTION = "attention_function"


class ForgeModel:
    """What the two kinds have in common: the text comes first, then the picture, then pictures that it refers to.

    Attributes:
        class_names: of models of the kind.
        has: an attribute that tells them from others of such a name; none where it is empty.
        lists: attributes that hold the blocks in which text and image attend to each other.
    """

    name: ClassVar[str]
    class_names: ClassVar[tuple[str, ...]]
    has: ClassVar[str] = ""
    lists: ClassVar[tuple[str, ...]]

    def __init__(self, model: nn.Module):
        self._model = model

    @classmethod
    def find(cls, model: nn.Module) -> ForgeModel | None:
        is_known = type(model).__name__ in cls.class_names and (not cls.has or hasattr(model, cls.has))
        return cls(model) if is_known else None

    def blocks(self) -> Sequence[JointBlock]:
        return blocks_of_lists(self._model, self.lists)

    def text_stream(self) -> TextStream | None:
        return None

    def bindings(self, block: nn.Module) -> Sequence[Binding]:
        return forge_bindings(block)

    def places(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Places:
        latent = argument(arguments, named, 0, ("x",))
        has_time = latent is not None and latent.dim() == 5
        latent = one_frame(latent) if has_time else first_input(arguments, dict(named))
        text = argument(arguments, named, 2, ("context",))
        if text is None:
            raise TraceError("expected a text in every call of the model, got none")
        text = text.flatten(1, -2)  # Krea 2 gets [row, 1, column, channel]
        height, width = latent.shape[-2:]
        patch = int(getattr(self._model, "patch_size", getattr(self._model, "patch", 2)))
        grid = (-(-height // patch), -(-width // patch))
        columns = text.shape[1] + self._padding(text.shape[1])
        pictures = grid[0] * grid[1]
        others = sum(-(-each.shape[-2] // patch) * -(-each.shape[-1] // patch) for each in self._references(named))
        positions = columns + pictures + self._padding(pictures) + others
        sample = Sample(latent.shape[0], height, width, latent.requires_grad)
        return Places(sample, grid, columns, 0, positions, positions, text)

    def _padding(self, count: int) -> int:
        """How many positions stand behind so many of text, or of picture, to fill them up."""
        return 0

    def _references(self, named: Mapping[str, Any]) -> Sequence[Tensor]:
        """Latents [1, channel, height, width] of pictures that the made one refers to, in positions behind its own."""
        return ()


class ForgeFlux(ForgeModel):
    """Flux, Kontext among it, and what is built like it."""

    name = "Flux and Chroma in Forge"
    class_names = ("IntegratedFluxTransformer2DModel", "IntegratedChromaTransformer2DModel")
    lists = ("double_blocks", "single_blocks")

    def text_stream(self) -> TextStream:
        return ForgeStream(self._model, blocks_of_lists(self._model, self.lists[:1]))

    def _references(self, named: Mapping[str, Any]) -> Sequence[Tensor]:
        return named.get("ref_latents") or kept_references()


class ForgeLumina(ForgeModel):
    """Lumina 2 and Z-Image, which fills up both text and picture to whole multiples of a number of its own."""

    name = "Lumina 2 or Z-Image in Forge Neo"
    class_names = ("NextDiT",)
    lists = ("layers",)

    def _padding(self, count: int) -> int:
        multiple = getattr(self._model, "pad_tokens_multiple", None)
        return -count % int(multiple) if multiple else 0


class _PromptOfPictures(ForgeModel):
    """Where a prompt has the pictures in it, as the host encodes it, that the made one refers to."""

    def _references(self, named: Mapping[str, Any]) -> Sequence[Tensor]:
        """None: the prompt's columns would not be those of its words."""
        if named.get("ref_latents") or kept_references():
            raise TraceError(
                f"the prompt has pictures in it that the made one refers to, which is not read: {self.name}"
            )
        return ()


class ForgeQwen(_PromptOfPictures):
    """Qwen-Image."""

    name = "Qwen-Image in Forge Neo"
    class_names = ("QwenImageTransformer2DModel",)
    has = "pe_embedder"  # which diffusers' has not, whose name is the same
    lists = ("transformer_blocks",)

    def text_stream(self) -> TextStream:
        return ForgeQwenStream(self._model, self.blocks())


class ForgeKrea(_PromptOfPictures):
    """Krea 2, of which a network of its own makes the text of many layers of its encoder."""

    name = "Krea 2 in Forge Neo"
    class_names = ("SingleStreamDiT",)
    has = "txtfusion"
    lists = ("blocks",)


FORGE_MODELS: list[type[JointModel]] = [ForgeFlux, ForgeLumina, ForgeQwen, ForgeKrea]


def forge_bindings(block: nn.Module) -> list[Binding]:
    """The names under which a block calls the hosts' attention function."""
    return [Binding(owner, FUNCTION, read_attention) for owner in _owners(block)]


def one_frame(latents: Tensor | None) -> Tensor:
    """Latents of pictures [row, channel, 1, height, width] without their time.

    Raises:
        ShapeError: they are none, or have several frames.
    """
    if latents is None or latents.dim() != 5 or latents.shape[2] != 1:
        got = "none" if latents is None else list(latents.shape)
        raise ShapeError(f"expected latents of pictures, [batch, channel, 1, height, width], got {got}")
    return latents[:, :, 0]


def kept_references() -> Sequence[Tensor]:
    """Latents of pictures that the made one refers to, as Forge Neo keeps them beside the call."""
    kept = getattr(sys.modules.get("backend.args"), "dynamic_args", None)
    return getattr(kept, "ref_latents", None) or ()


def _owners(block: nn.Module) -> Iterator[Any]:
    """The Python modules of a block's parts that call the attention function by that name."""
    names = dict.fromkeys(kind.__module__ for module in block.modules() for kind in type(module).__mro__)
    for name in names:
        owner = sys.modules.get(name)
        if owner is not None and callable(vars(owner).get(FUNCTION)):
            yield owner


def read_attention(arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> AttentionCall:
    """A call of the hosts' `attention_function`."""
    return _read(result, *arguments, **named)


def _read(
    result: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None = None,
    *_: Any,
    skip_reshape: bool = False,
    **__: Any,
) -> AttentionCall:
    if skip_reshape:
        query, key, value = (tensor.transpose(1, 2) for tensor in (q, k, v))
    else:  # heads are not apart yet
        query, key, value = (tensor.unflatten(-1, (heads, -1)) for tensor in (q, k, v))
    if mask is not None and mask.dim() < 4:
        mask = mask[None, None] if mask.dim() == 2 else mask[:, None]
    if result.dim() == 3:
        result = result.unflatten(-1, (heads, -1))
    return AttentionCall(query, key, value, mask, None, result)
