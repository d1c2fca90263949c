"""Joint attention of diffusers' transformers: one class for each kind. Nothing of diffusers is imported.

Newer ones call `dispatch_attention_fn`, which each module has imported by name, with [batch, position, head, channel];
the others torch's `scaled_dot_product_attention` with [batch, head, position, channel].
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from daam.errors import ShapeError, TraceError
from daam.tracing.families.base import Sample
from daam.tracing.families.diffusers_streams import ApartDoubleStream, DoubleStream
from daam.tracing.families.joint_model import JointBlock, JointModel, Places, TextStream, blocks_of_lists
from daam.tracing.families.seam import AttentionCall, Binding

PACKING = 2
"""Pixels of the latent along each side of what pipelines pack into one position."""


class DiffusersModel:
    """What diffusers' transformers have in common.

    Attributes:
        class_name: of the model; its subclasses are of the kind too.
        lists: attributes that hold the blocks in which text and image attend to each other.
        text_inputs: modules that a text goes through before the blocks of the first list, where those have a stream for
            text and one for the image; none where they have one for both.
        stream: how the text's stream runs.
    """

    name: ClassVar[str]
    class_name: ClassVar[str]
    lists: ClassVar[tuple[str, ...]] = ("transformer_blocks",)
    text_inputs: ClassVar[tuple[str, ...]] = ()
    stream: ClassVar[type[DoubleStream]] = DoubleStream

    def __init__(self, model: nn.Module):
        self._model = model
        self._signature = inspect.signature(type(model).forward)

    @classmethod
    def find(cls, model: nn.Module) -> DiffusersModel | None:
        return cls(model) if any(kind.__name__ == cls.class_name for kind in type(model).__mro__) else None

    def blocks(self) -> Sequence[JointBlock]:
        return blocks_of_lists(self._model, self.lists)

    def bindings(self, block: nn.Module) -> Sequence[Binding]:
        return attention_bindings(block)

    def text_stream(self) -> TextStream | None:
        if not self.text_inputs:
            return None
        return self.stream(self._model, blocks_of_lists(self._model, self.lists[:1]), self.text_inputs)

    def places(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Places:
        return self._places(dict(self._signature.bind(self._model, *arguments, **named).arguments))

    def _places(self, given: Mapping[str, Any]) -> Places:
        """Args: given: what the model was called with, by name."""
        raise NotImplementedError


def attention_bindings(block: nn.Module) -> list[Binding]:
    """The names under which a block of diffusers may call its attention function, whatever its processors are."""
    owners = dict.fromkeys(sys.modules.get(name) for name in _modules_of(block))
    found = [
        Binding(owner, "dispatch_attention_fn", read_dispatched)
        for owner in owners
        if owner is not None and "dispatch_attention_fn" in vars(owner)
    ]
    return [*found, Binding(nn.functional, "scaled_dot_product_attention", read_dot_product)]


def _modules_of(block: nn.Module) -> Iterator[str]:
    """Names of the Python modules of a block's parts and of their attention processors."""
    for module in block.modules():
        yield type(module).__module__
        processor = getattr(module, "processor", None)
        if processor is not None:
            yield type(processor).__module__


def read_dispatched(arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> AttentionCall:
    """A call of diffusers' `dispatch_attention_fn`."""
    return _read(result, *arguments, **named)


def read_dot_product(arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> AttentionCall:
    """A call of torch's `scaled_dot_product_attention`."""
    call = _read(result, *arguments, **named)
    query, key, value = (tensor.transpose(1, 2) for tensor in call[:3])
    return call._replace(query=query, key=key, value=value, result=result.transpose(1, 2))


def _read(
    result: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *_: Any,
    **__: Any,
) -> AttentionCall:
    refusal = "attends to what came before alone (`is_causal`), which the maps do not know" if is_causal else None
    return AttentionCall(query, key, value, _as_four(attn_mask), scale, result, refusal)


def _as_four(mask: Tensor | None) -> Tensor | None:
    """A mask with all its four axes, whatever was left out in front of them."""
    if mask is None:
        return None
    if mask.dim() == 2:
        return mask[None, None]
    return mask[:, None] if mask.dim() == 3 else mask


class _Packed(DiffusersModel):
    """Latents come packed, [row, position, channel]; where a position lies is said beside it. The text comes first."""

    def _places(self, given: Mapping[str, Any]) -> Places:
        latents, text = given["hidden_states"], given["encoder_hidden_states"]
        if text is None:
            raise TraceError("expected a text in every call of the model, got none")
        grid = self._grid(given)
        columns, positions = text.shape[1], text.shape[1] + latents.shape[1]
        sample = Sample(latents.shape[0], PACKING * grid[0], PACKING * grid[1], latents.requires_grad)
        return Places(sample, grid, columns, 0, positions, positions, text)

    def _grid(self, given: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width) of the positions of the picture that is made: the first ones."""
        raise NotImplementedError


class Flux(_Packed):
    """Each position has (which picture, row, column); the picture that is made comes first, others behind (Kontext)."""

    name = "Flux"
    class_name = "FluxTransformer2DModel"
    lists = ("transformer_blocks", "single_transformer_blocks")
    text_inputs = ("context_embedder",)

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self._known: tuple[Tensor, tuple[int, int]] | None = None

    def _grid(self, given: Mapping[str, Any]) -> tuple[int, int]:
        ids = given["img_ids"]
        if self._known is None or self._known[0] is not ids:  # asking costs an accelerator a wait
            self._known = (ids, grid_of_ids(ids))
        return self._known[1]


class Flux2(Flux):
    """As in Flux, but the rows of a call have each their ids, with a fourth number."""

    name = "Flux 2"
    class_name = "Flux2Transformer2DModel"

    def _grid(self, given: Mapping[str, Any]) -> tuple[int, int]:
        if given.get("kv_cache_mode") is not None:
            raise TraceError("the keys of pictures to be like are kept from the first step on, and not told apart here")
        return super()._grid(given)


class Chroma(Flux):
    """Flux without its CLIP; what its mask hides, and how, is in the mask that the attention function gets."""

    name = "Chroma"
    class_name = "ChromaTransformer2DModel"


class QwenImage(_Packed):
    """The pictures' sizes are told for each row, that of the picture that is made first."""

    name = "Qwen-Image"
    class_name = "QwenImageTransformer2DModel"
    text_inputs = ("txt_norm", "txt_in")
    stream = ApartDoubleStream

    def _grid(self, given: Mapping[str, Any]) -> tuple[int, int]:
        shapes = given["img_shapes"][0]
        first = shapes[0] if isinstance(shapes, list) else shapes
        if first[0] != 1 or getattr(getattr(self._model, "config", None), "use_layer3d_rope", False):
            raise ShapeError(
                "expected one picture for each prompt, got layers or frames, whose maps are not kept apart"
            )
        return first[1], first[2]


class StableDiffusion3(DiffusersModel):
    """The image comes first. SD 3.5's blocks attend a second time, the image to itself."""

    name = "Stable Diffusion 3"
    class_name = "SD3Transformer2DModel"
    text_inputs = ("context_embedder",)

    def _places(self, given: Mapping[str, Any]) -> Places:
        latents, text = given["hidden_states"], given["encoder_hidden_states"]
        rows, _, height, width = latents.shape
        patch = self._model.config.patch_size  # type: ignore[union-attr]
        grid = (height // patch, width // patch)
        image = grid[0] * grid[1]
        positions = image + text.shape[1]
        return Places(Sample(rows, height, width, latents.requires_grad), grid, 0, image, positions, positions, text)


class Lumina2(DiffusersModel):
    """Each row's image comes right behind the text that it really has; padding comes last, hidden by a mask."""

    name = "Lumina 2"
    class_name = "Lumina2Transformer2DModel"
    lists = ("layers",)

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self._known: list[tuple[Tensor, tuple[int, ...]]] = []

    def _places(self, given: Mapping[str, Any]) -> Places:
        latents, text = given["hidden_states"], given["encoder_hidden_states"]
        rows, _, height, width = latents.shape
        patch = self._model.config.patch_size  # type: ignore[union-attr]
        grid = (height // patch, width // patch)
        lengths = self._lengths(given["encoder_attention_mask"])
        positions = max(lengths) + grid[0] * grid[1]
        sample = Sample(rows, height, width, latents.requires_grad, lengths)
        return Places(sample, grid, lengths, 0, positions, positions, text)

    def _lengths(self, mask: Tensor) -> tuple[int, ...]:
        for known, lengths in self._known:
            if known is mask:
                return lengths
        found = tuple(int(length) for length in mask.sum(dim=1).tolist())
        self._known = [*self._known[-1:], (mask, found)]  # those of both sides
        return found


class ZImage(DiffusersModel):
    """The image comes first, then the text, each filled up to a multiple of 32 by positions that are attended to."""

    name = "Z-Image"
    class_name = "ZImageTransformer2DModel"
    lists = ("layers",)
    multiple = 32

    def _places(self, given: Mapping[str, Any]) -> Places:
        latents, texts = given["x"], given["cap_feats"]
        if isinstance(latents[0], list):
            raise TraceError(
                "expected one picture in each row, got several: pictures to be like are not told apart here"
            )
        _, frames, height, width = latents[0].shape
        if frames != 1 or any(each.shape != latents[0].shape for each in latents):
            raise ShapeError("expected pictures of one size in a call of the model, got several sizes, or frames")
        patch = given.get("patch_size", 2)
        grid = (height // patch, width // patch)
        image = self._filled(grid[0] * grid[1])
        positions = image + max(self._filled(len(text)) for text in texts)
        lengths = tuple(len(text) for text in texts)
        sample = Sample(len(latents), height, width, latents[0].requires_grad, lengths)
        return Places(sample, grid, 0, image, positions, positions, list(texts))

    def _filled(self, count: int) -> int:
        return -(-count // self.multiple) * self.multiple


def grid_of_ids(ids: Tensor) -> tuple[int, int]:
    """(height, width) of the first picture among positions that are told by (picture, row, column, ...).

    Args:
        ids: [position, number], or that for each row of a call.

    Raises:
        ShapeError: its positions are no rectangle in order.
    """
    each = (ids[0] if ids.dim() == 3 else ids)[:, :3].to("cpu", torch.long)
    own = each[each[:, 0] == each[0, 0]]
    height, width = (int(size) for size in own[:, 1:].amax(dim=0) - own[:, 1:].amin(dim=0) + 1)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    expected = torch.stack([rows.flatten(), columns.flatten()], dim=1) + own[0, 1:]
    if height * width != len(own) or not torch.equal(own[:, 1:], expected) or not torch.equal(each[: len(own)], own):
        raise ShapeError(f"expected the positions of a whole picture, row by row, got {len(own)} others")
    return height, width


DIFFUSERS_MODELS: list[type[JointModel]] = [Flux, Flux2, Chroma, QwenImage, StableDiffusion3, Lumina2, ZImage]
"""One entry for each kind."""
