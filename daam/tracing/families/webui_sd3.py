"""Joint attention of the WebUI's Stable Diffusion 3: text and image attend to each other in one softmax.

A block has `context_block.attn` and `x_block.attn`, each with `ln_q` and `ln_k`, modules whose outputs
[batch, position, head, channel] are used as they are; the keys are those of the text, then those of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from daam.errors import ShapeError
from daam.tracing.families.base import Attended, Sample, Sight, argument, sample_of

_NORMS = ("ln_q", "ln_k")


@dataclass(frozen=True)
class _Block:
    """Attributes: name: its path, such as "joint_blocks.3"; image, text: its two attentions."""

    name: str
    image: nn.Module
    text: nn.Module


class WebuiSd3:
    """The hooks gather the three parts of each block; the image's key is the last that the model makes."""

    probe_refusal: ClassVar[str | None] = (
        "words that are not in the prompt cannot be probed in a model with joint attention"
    )
    refined_refusal: ClassVar[str | None] = (
        "a model with joint attention has no self-attention of the picture by itself, along which maps are refined"
    )
    outputs_refusal: ClassVar[str | None] = "of the WebUI's Stable Diffusion 3 only queries and keys are seen"
    blind_spot: ClassVar[str] = "the model's blocks do not make their queries and keys as the WebUI's do"
    calls_by_side: ClassVar[bool] = False

    def __init__(self, blocks: list[_Block]):
        self._blocks = blocks
        self._parts: dict[str, dict[str, Tensor]] = {}

    @classmethod
    def find(cls, model: nn.Module) -> WebuiSd3 | None:
        blocks = [
            _Block(name, block.get_submodule("x_block.attn"), block.get_submodule("context_block.attn"))
            for name, block in model.named_modules()
            if "x_block" in block._modules  # asked first: it takes long to see that an attribute is not there
            and all(hasattr(_attention(block, side), part) for side in ("x_block", "context_block") for part in _NORMS)
        ]
        return cls(blocks) if blocks else None

    def install(self, stack: ExitStack, sight: Sight) -> None:
        stack.callback(self._parts.clear)
        for block in self._blocks:
            parts = {"text key": block.text.ln_k, "query": block.image.ln_q, "key": block.image.ln_k}
            for part, module in parts.items():
                see = sight.guard(functools.partial(self._see, sight, block.name, part))
                stack.callback(module.register_forward_hook(see).remove)  # type: ignore[union-attr, operator]

    def sample(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sample:
        return sample_of(arguments, named)

    def conditioning(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
        return argument(arguments, named, 3, ("context",))

    def replaced_self_attention(self) -> str | None:
        return None

    def begin_call(self) -> None:
        self._parts.clear()

    def _see(
        self, sight: Sight, name: str, part: str, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        parts = self._parts.setdefault(name, {})
        parts[part] = output
        if part == "key":
            del self._parts[name]
            size = size_in_patches(sight.latent_size(), parts["query"].shape[1], name)
            keys = (parts["text key"], parts["key"])
            sight.see(Attended(name, parts["query"], keys, output.shape[2], None, size))


def size_in_patches(latent_size: tuple[int, int], positions: int, layer: str) -> tuple[int, int]:
    """The (height, width) of the grid of patches, of any whole size, that the latent was cut into.

    Raises:
        ShapeError: no whole size of patches gives so many positions.
    """
    height, width = latent_size
    for patch in range(1, 9):
        if (height // patch) * (width // patch) == positions:
            return height // patch, width // patch
    raise ShapeError(f"expected patches of a {height}x{width} latent in {layer}, got {positions} positions")


def _attention(block: nn.Module, side: str) -> object:
    return getattr(getattr(block, side, None), "attn", None)
