"""Cross-attention of a UNet: `attn2` with `to_q` and `to_k` in transformers, as SD 1, 2 and XL have it everywhere.

Layers are found by their structure; no class of any model is known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from threading import get_ident
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import Linear

from daam.errors import TraceError
from daam.tracing.families.base import Attended, Sample, Sight, Watch, argument, sample_of
from daam.tracing.families.self_attention import SelfAttentionHooks, SelfAttentionLayer
from daam.tracing.families.spatial_sizes import SpatialSizes

_PROJECTIONS = ("to_q", "to_k", "to_kv")


@dataclass(frozen=True)
class CrossAttentionLayer:
    """One cross-attention and the module whose input has its spatial size.

    Attributes:
        name: path of the attention inside the model, such as "up_blocks.1.attentions.0.transformer_blocks.0.attn2".
        attention: has `to_q` and `to_k` (or `to_kv` when fused) and `heads`.
        spatial: the transformer around it; its first input is [batch, channel, height, width].
        itself: the block's self-attention.
    """

    name: str
    attention: nn.Module
    spatial: nn.Module
    itself: nn.Module

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
    refined_refusal: ClassVar[str | None] = None
    outputs_refusal: ClassVar[str | None] = "only in a model with joint attention words have an output of their own"
    blind_spot: ClassVar[str] = (
        "the model's attention processors do not call `to_q` and `to_k`, or the model was compiled before the trace "
        "began"
    )
    calls_by_side: ClassVar[bool] = False

    def __init__(self, layers: list[CrossAttentionLayer]):
        self.layers = layers
        self._sizes = SpatialSizes(layer.spatial for layer in layers)
        own = [SelfAttentionLayer(layer.name[: -len("2")] + "1", layer.itself, layer.spatial) for layer in layers]
        self._self_attention = SelfAttentionHooks(own, self._sizes.seen)
        self._seen: dict[str, _Seen] = {layer.name: _Seen() for layer in layers}
        self._hooked: list[Any] = []
        self._modules = [layer.attention._modules for layer in layers for _ in _PROJECTIONS]
        self._names = [name for _ in layers for name in _PROJECTIONS]

    @classmethod
    def find(cls, model: nn.Module) -> CrossAttention | None:
        layers = find_cross_attention_layers(model)
        return cls(layers) if layers else None

    def install(self, stack: ExitStack, sight: Sight) -> None:
        self._hooked = self._projections()
        stack.callback(self._forget)
        self._sizes.install(stack, sight)
        for layer in self.layers:
            seen = self._seen[layer.name]
            see_query = functools.partial(_see_query, sight.watch, seen)
            stack.callback(layer.attention.to_q.register_forward_hook(see_query).remove)  # type: ignore[union-attr]
            for name in ("to_k", "to_kv"):
                projection = getattr(layer.attention, name, None)
                if isinstance(projection, nn.Module):
                    key = _Key(layer.name, layer.spatial, layer.heads, layer.scale, projection, name == "to_kv")
                    see_key = sight.guard(functools.partial(self._see_key, sight.see, seen, key))
                    if not key.is_fused:
                        see_key = functools.partial(_see_key, sight, seen, key, see_key)
                    stack.callback(projection.register_forward_hook(see_key).remove)
        if sight.see_self is not None:
            self._self_attention.install(stack, sight)

    def sample(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sample:
        sample = sample_of(arguments, named)
        self._sizes.begin_call((sample.height, sample.width))
        return sample

    def conditioning(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor | None:
        return argument(arguments, named, 2, ("encoder_hidden_states", "context"))

    def replaced_self_attention(self) -> str | None:
        return self._self_attention.replaced()

    def begin_call(self) -> None:
        self._forget()
        if self._projections() != self._hooked:
            raise TraceError(
                "the model's projections were replaced while it was traced, by a LoRA or by fusing, so that the query "
                "and the key in use are no longer seen; do that before the trace begins"
            )

    def _forget(self) -> None:
        for seen in self._seen.values():
            seen.hidden = seen.query = None
        self._self_attention.forget()

    def _projections(self) -> list[Any]:
        """Not by the modules' `getattr`, and in no loop of Python's own: that would take as long as some layers."""
        return list(map(dict.get, self._modules, self._names))

    def _see_key(
        self,
        see: Callable[[Attended], None],
        seen: _Seen,
        key: _Key,
        _module: nn.Module,
        inputs: tuple[Tensor, ...],
        output: Tensor,
    ) -> None:
        context, query, hidden = inputs[0], seen.query, seen.hidden
        seen.query = seen.hidden = None
        if query is None or context is hidden:  # called without a context: it attended to the picture itself
            return
        size = self._sizes.of(key.spatial, query.shape[1])
        if size is None:
            raise TraceError(f"{key.layer} ran outside of its transformer, so the size of its maps is not known")
        keys = (key.key_in(output),) if key.is_fused else (output,)
        see(Attended(key.layer, query, keys, key.heads, key.scale, size, 0, key.of, context, key.weights))


class _Seen:
    """What a layer's query was made of, and the query, until its key comes."""

    __slots__ = ("hidden", "query")

    def __init__(self) -> None:
        self.hidden: Tensor | None = None
        self.query: Tensor | None = None


def _see_query(watch: Watch, seen: _Seen, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Without the guard, too."""
    if watch.is_on and inputs and (watch.thread is None or watch.thread == get_ident()):
        seen.hidden, seen.query = inputs[0], output


def _see_key(
    sight: Sight,
    seen: _Seen,
    key: _Key,
    guarded: Callable[..., None],
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    output: Tensor,
) -> None:
    """Without the guard, as long as the layer does what it did in an earlier call."""
    query, watch = seen.query, sight.watch
    if query is None or not watch.is_on or (watch.thread is not None and watch.thread != get_ident()):
        return
    if inputs and sight.see_again(key.layer, query, output, inputs[0]):
        seen.query = seen.hidden = None
    else:
        guarded(module, inputs, output)


class _Key:
    """One layer's projection to keys, and what does not change while it is watched."""

    def __init__(
        self, layer: str, spatial: nn.Module, heads: int, scale: float | None, projection: nn.Module, is_fused: bool
    ):
        self.layer, self.spatial, self.heads, self.scale = layer, spatial, heads, scale
        self._projection, self.is_fused = projection, is_fused
        self.of, self.weights = self._of, self._weights

    def key_in(self, projected: Tensor) -> Tensor:
        return projected.chunk(2, dim=-1)[0] if self.is_fused else projected

    def _of(self, context: Tensor) -> Tensor:
        return self.key_in(self._projection.forward(context))  # not a call, which would run our hook

    def _weights(self) -> tuple[Tensor, ...] | None:
        """All that the key depends on; None where more than its weights may take part, as with a LoRA.

        WebUIs put their LoRAs into the class of all linear layers; others into hooks beside ours.
        """
        projection = self._projection
        if type(projection) is not Linear or "forward" in projection.__dict__:
            return None
        if Linear.forward.__module__ != Linear.__module__:
            return None
        if projection._forward_pre_hooks or len(projection._forward_hooks) > 1:
            return None
        parameters = projection._parameters
        weight, bias = parameters["weight"], parameters["bias"]
        return (weight,) if bias is None else (weight, bias)  # type: ignore[return-value]


def find_cross_attention_layers(model: nn.Module) -> list[CrossAttentionLayer]:
    """Every cross-attention of the model, in the order of its modules; empty where there is none.

    A transformer owns `transformer_blocks`; a block has `attn1` (self-attention) and `attn2`. Where `attn2` says
    itself that it is no cross-attention, or the block's first attention is a joint one (SD3's `attn`, whose `attn2`
    is a second self-attention), it is left alone.
    """
    return [
        CrossAttentionLayer(
            f"{name}.transformer_blocks.{index}.attn2".lstrip("."),
            block.get_submodule("attn2"),
            spatial,
            block.get_submodule("attn1"),
        )
        for name, spatial in model.named_modules()
        for index, block in enumerate(_blocks(spatial))
        if _is_cross_attention(block)
    ]


def _blocks(module: nn.Module) -> list[nn.Module]:
    blocks = module._modules.get("transformer_blocks")  # not by getattr, which takes long over what is not there
    return list(blocks) if isinstance(blocks, nn.ModuleList) else []


def _is_cross_attention(block: nn.Module) -> bool:
    attention = getattr(block, "attn2", None)
    if attention is None or getattr(block, "attn1", None) is None or not hasattr(attention, "heads"):
        return False
    if not hasattr(attention, "to_q") or not (hasattr(attention, "to_k") or hasattr(attention, "to_kv")):
        return False
    return bool(getattr(attention, "is_cross_attention", True))
