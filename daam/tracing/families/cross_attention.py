"""Cross-attention of a UNet: `attn2` with `to_q` and `to_k` in transformers, as SD 1, 2 and XL have it everywhere.

Layers are found by their structure; no class of any model is known.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from daam.errors import TraceError
from daam.tracing.families.base import Attended, Sight, argument, first_input

_PROJECTIONS = ("to_q", "to_k", "to_kv")


@dataclass(frozen=True)
class CrossAttentionLayer:
    """One cross-attention and the module whose input has its spatial size.

    Attributes:
        name: path of the attention inside the model, such as "up_blocks.1.attentions.0.transformer_blocks.0.attn2".
        attention: has `to_q` and `to_k` (or `to_kv` when fused) and `heads`.
        spatial: the transformer around it; its first input is [batch, channel, height, width].
    """

    name: str
    attention: nn.Module
    spatial: nn.Module

    @property
    def heads(self) -> int:
        return int(self.attention.heads)  # type: ignore[arg-type]

    @property
    def scale(self) -> float | None:
        """What the scores are multiplied with; None where the model does not say, so channel ** -0.5."""
        scale = getattr(self.attention, "scale", None)
        return None if scale is None else float(scale)


class CrossAttention:
    """The hooks: the size from the transformer's input, the query from `to_q`, the key from `to_k` or `to_kv`."""

    probe_refusal: ClassVar[str | None] = None

    def __init__(self, layers: list[CrossAttentionLayer]):
        self.layers = layers
        self._sizes: dict[nn.Module, tuple[int, int]] = {}
        self._queries: dict[str, tuple[Tensor, Tensor]] = {}
        self._hooked: list[Any] = []

    @classmethod
    def find(cls, model: nn.Module) -> CrossAttention | None:
        layers = find_cross_attention_layers(model)
        return cls(layers) if layers else None

    def install(self, stack: ExitStack, sight: Sight) -> None:
        self._hooked = self._projections()
        stack.callback(self._forget)
        for spatial in {layer.spatial: None for layer in self.layers}:
            hook = sight.guard(self._see_size)
            stack.callback(spatial.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for layer in self.layers:
            see_query = sight.guard(functools.partial(self._see_query, layer))
            stack.callback(layer.attention.to_q.register_forward_hook(see_query).remove)  # type: ignore[union-attr]
            for name in ("to_k", "to_kv"):
                projection = getattr(layer.attention, name, None)
                if isinstance(projection, nn.Module):
                    see_key = sight.guard(functools.partial(self._see_key, sight, layer, name == "to_kv"))
                    stack.callback(projection.register_forward_hook(see_key).remove)

    def conditioning(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
        return argument(arguments, named, 2, ("encoder_hidden_states", "context"))

    def begin_call(self) -> None:
        self._forget()
        if self._projections() != self._hooked:
            raise TraceError(
                "the model's projections were replaced while it was traced, by a LoRA or by fusing, so that the query "
                "and the key in use are no longer seen; do that before the trace begins"
            )

    def _forget(self) -> None:
        self._sizes.clear()
        self._queries.clear()

    def _projections(self) -> list[Any]:
        return [getattr(layer.attention, name, None) for layer in self.layers for name in _PROJECTIONS]

    def _see_size(self, spatial: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        height, width = first_input(arguments, named).shape[-2:]
        self._sizes[spatial] = (height, width)

    def _see_query(
        self, layer: CrossAttentionLayer, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        self._queries[layer.name] = (inputs[0], output)

    def _see_key(
        self,
        sight: Sight,
        layer: CrossAttentionLayer,
        is_fused: bool,
        projection: nn.Module,
        inputs: tuple[Tensor, ...],
        output: Tensor,
    ) -> None:
        if layer.name not in self._queries:
            return
        query_input, query = self._queries.pop(layer.name)
        if inputs[0] is query_input:  # called without a context: it attended to the picture itself
            return

        def key_in(projected: Tensor) -> Tensor:
            return projected.chunk(2, dim=-1)[0] if is_fused else projected

        def key_of(context: Tensor) -> Tensor:
            return key_in(projection.forward(context.to(output)))  # not a call, which would run this hook

        if layer.spatial not in self._sizes:
            raise TraceError(f"{layer.name} ran outside of its transformer, so the size of its maps is not known")
        keys, size = (key_in(output),), self._sizes[layer.spatial]
        attended = Attended(layer.name, query, keys, layer.heads, layer.scale, size)
        sight.see(attended._replace(key_of=key_of, context=inputs[0], key_weights=_weights(projection)))


def _weights(projection: nn.Module) -> tuple[Tensor, ...] | None:
    """All that a projection's output depends on; None where more than its weights may take part, as with a LoRA."""
    if type(projection) is not nn.Linear or "forward" in vars(projection):
        return None
    return tuple(projection.parameters(recurse=False))


def find_cross_attention_layers(model: nn.Module) -> list[CrossAttentionLayer]:
    """Every cross-attention of the model, in the order of its modules; empty where there is none.

    A transformer owns `transformer_blocks`; a block has `attn1` (self-attention) and `attn2`. Where `attn2` says
    itself that it is no cross-attention, or the block's first attention is a joint one (SD3's `attn`, whose `attn2`
    is a second self-attention), it is left alone.
    """
    return [
        CrossAttentionLayer(
            f"{name}.transformer_blocks.{index}.attn2".lstrip("."), block.get_submodule("attn2"), spatial
        )
        for name, spatial in model.named_modules()
        for index, block in enumerate(_blocks(spatial))
        if _is_cross_attention(block)
    ]


def _blocks(module: nn.Module) -> list[nn.Module]:
    blocks = getattr(module, "transformer_blocks", None)
    return list(blocks) if isinstance(blocks, nn.ModuleList) else []


def _is_cross_attention(block: nn.Module) -> bool:
    attention = getattr(block, "attn2", None)
    if attention is None or getattr(block, "attn1", None) is None or not hasattr(attention, "heads"):
        return False
    if not hasattr(attention, "to_q") or not (hasattr(attention, "to_k") or hasattr(attention, "to_kv")):
        return False
    return bool(getattr(attention, "is_cross_attention", True))
