"""Cross-attention of Forge Neo's Anima, a transformer of Cosmos' kind. Nothing of the host is imported.

Each block attends to the picture, then to the text, by `attention_function`, which its Python module has imported by
name: with queries and keys that have their norms, and in the picture's own attention rotary positions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from torch import Tensor, nn

from daam.errors import ShapeError, TraceError
from daam.tracing.families.base import Attended, Sample, Sight, argument
from daam.tracing.families.forge_joint import forge_bindings, kept_references, one_frame
from daam.tracing.families.joint_model import JointBlock
from daam.tracing.families.seam import Binding, Watch


class ForgeAnima:
    """The hooks: while a cross-attention runs, the watch sees what reaches the attention function."""

    probe_refusal: ClassVar[str | None] = None
    refined_refusal: ClassVar[str | None] = (
        "of Anima the self-attention, along which maps would be refined, is not looked at"
    )
    outputs_refusal: ClassVar[str | None] = "only in a model with joint attention words have an output of their own"
    blind_spot: ClassVar[str] = "no cross-attention of the model was seen to attend to the prompt"
    calls_by_side: ClassVar[bool] = False

    def __init__(self, model: nn.Module):
        self._model = model
        self._layers = [
            JointBlock(f"blocks.{number}.cross_attn", block.get_submodule("cross_attn"))
            for number, block in enumerate(model.blocks)  # type: ignore[arg-type]
        ]
        self._watches: list[Watch] = []
        self._grid = (0, 0)
        self._positions = 0

    @classmethod
    def find(cls, model: nn.Module) -> ForgeAnima | None:
        is_known = type(model).__name__ == "Anima" and isinstance(getattr(model, "blocks", None), nn.ModuleList)
        return cls(model) if is_known else None

    def sample(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sample:
        """Of latents [row, channel, time, height, width]; pictures that are referred to follow in time."""
        latents = one_frame(argument(arguments, named, 0, ("x",)))
        height, width = latents.shape[-2:]
        patch = int(self._model.patch_spatial)  # type: ignore[arg-type]
        self._grid = (-(-height // patch), -(-width // patch))
        times = 1 + sum(each.shape[2] for each in kept_references())
        self._positions = times * self._grid[0] * self._grid[1]
        return Sample(len(latents), height, width, latents.requires_grad)

    def conditioning(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
        context = argument(arguments, named, 2, ("context",))
        return None if context is None else context.flatten(1, -2)  # [row, 1, column, channel] of the host's

    def replaced_self_attention(self) -> str | None:
        return None

    def begin_call(self) -> None:
        for watch in self._watches:
            watch.end()

    def install(self, stack: ExitStack, sight: Sight) -> None:
        for layer in self._layers:
            bindings = forge_bindings(layer.module)
            watch = Watch(sight.guard(functools.partial(self._look, sight, layer)))
            self._watches.append(watch)
            stack.callback(watch.leave)
            begin = sight.guard(functools.partial(_begin, watch, bindings))
            end = functools.partial(_end, watch)
            stack.callback(layer.module.register_forward_pre_hook(begin).remove)
            stack.callback(layer.module.register_forward_hook(end, always_call=True).remove)

    def _look(
        self,
        sight: Sight,
        layer: JointBlock,
        binding: Binding,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        result: Any,
    ) -> None:
        call = binding.read(arguments, named, result)
        if call.refusal is not None:
            raise TraceError(f"{layer.name}: {call.refusal}")
        if call.query.shape[1] != self._positions:
            raise ShapeError(
                f"expected {self._positions} positions of the picture in {layer.name}, got {call.query.shape[1]}"
            )
        query = call.query[:, : self._grid[0] * self._grid[1]]
        key_of = functools.partial(_key_of, layer.module)
        heads = query.shape[2]
        sight.see(Attended(layer.name, query, (call.key,), heads, call.scale, self._grid, 0, key_of, mask=call.mask))


def _key_of(attention: Any, context: Tensor) -> Tensor:
    """[row, token, head, channel] of [row, token, channel]; forward alone, as a call would run hooks of others."""
    key: Tensor = attention.k_proj.forward(context)
    normed: Tensor = attention.k_norm.forward(key.unflatten(-1, (attention.n_heads, attention.head_dim)))
    return normed


def _begin(watch: Watch, bindings: Sequence[Binding], module: nn.Module, _arguments: tuple[Any, ...]) -> None:
    watch.begin(module, bindings)


def _end(watch: Watch, module: nn.Module, *_: Any) -> None:
    watch.end(module)
