"""Self-attention of a UNet: `attn1` of each block whose `attn2` looks at the text, as SD 1, 2 and XL have it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor, nn

from daam.tracing.families.base import SelfAttended, Sight


@dataclass(frozen=True)
class SelfAttentionLayer:
    """One self-attention, and the module whose input has its spatial size.

    Attributes:
        attention: has `to_q` and `to_k` (or `to_qkv` when fused) and `heads`.
    """

    name: str
    attention: nn.Module
    spatial: nn.Module


class SelfAttentionHooks:
    """The query from `to_q`, the key from `to_k`, or both from `to_qkv`: handed on as they are."""

    def __init__(self, layers: Sequence[SelfAttentionLayer], sizes: Mapping[nn.Module, tuple[int, int]]):
        """Args: sizes: (height, width) of each transformer's input in the call that runs, kept up by who has it."""
        self._layers = layers
        self._sizes = sizes
        self._queries: dict[str, Tensor] = {}

    def install(self, stack: ExitStack, sight: Sight) -> None:
        """Sets the hooks; the stack removes them."""
        stack.callback(self._queries.clear)
        for layer in self._layers:
            for name, see in (("to_q", self._see_query), ("to_k", self._see_key), ("to_qkv", self._see_fused)):
                projection = getattr(layer.attention, name, None)
                if isinstance(projection, nn.Module):
                    hook = sight.guard(functools.partial(see, sight, layer))
                    stack.callback(projection.register_forward_hook(hook).remove)

    def forget(self) -> None:
        """Forgets what a call left behind."""
        self._queries.clear()

    def replaced(self) -> str | None:
        """Name of a layer that attends in another way than most: by a processor, or a `forward`, of its own."""
        ways = {layer.name: _way_of(layer.attention) for layer in self._layers}
        usual = Counter(ways.values()).most_common(1)
        return next((name for name, way in ways.items() if way != usual[0][0]), None)

    def _see_query(
        self, sight: Sight, layer: SelfAttentionLayer, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        self._queries[layer.name] = output

    def _see_key(
        self, sight: Sight, layer: SelfAttentionLayer, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        query = self._queries.pop(layer.name, None)
        if query is not None:
            self._hand_over(sight, layer, query, output)

    def _see_fused(
        self, sight: Sight, layer: SelfAttentionLayer, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        query, key, _ = output.chunk(3, dim=-1)
        self._hand_over(sight, layer, query, key)

    def _hand_over(self, sight: Sight, layer: SelfAttentionLayer, query: Tensor, key: Tensor) -> None:
        size = self._sizes.get(layer.spatial)
        if sight.see_self is not None and size is not None:
            scale = getattr(layer.attention, "scale", None)
            heads = int(layer.attention.heads)  # type: ignore[arg-type]
            sight.see_self(SelfAttended(layer.name, query, key, heads, None if scale is None else float(scale), size))


def _way_of(attention: nn.Module) -> tuple[object, object]:
    """What tells apart how modules attend; a `forward` that another wraps has the other's name (hypertile)."""
    return type(getattr(attention, "processor", None)), getattr(attention.forward, "__qualname__", None)
