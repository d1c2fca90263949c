"""Finds a model's cross-attention layers by their structure. Knows no class of any model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from daam.errors import TraceError

_NORMS = ("ln_q", "ln_k")


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

    @property
    def is_fused(self) -> bool:
        """Whether key and value come from one projection, `to_kv`, so that `to_k` is not called."""
        return bool(getattr(self.attention, "fused_projections", False)) and hasattr(self.attention, "to_kv")


@dataclass(frozen=True)
class JointAttentionLayer:
    """One joint attention over text and image, as in Stable Diffusion 3: both have a query and a key.

    Attributes:
        name: path of the block inside the model, such as "joint_blocks.3".
        image, text: attentions with `ln_q` and `ln_k`, modules whose outputs [batch, position, head, channel] are
            used as they are; the keys are those of the text, then those of the image.
    """

    name: str
    image: nn.Module
    text: nn.Module


def find_joint_attention_layers(model: nn.Module) -> list[JointAttentionLayer]:
    """Every joint attention of the model, in the order of its modules; empty where it has none that is known."""
    return [
        JointAttentionLayer(name, block.get_submodule("x_block.attn"), block.get_submodule("context_block.attn"))
        for name, block in model.named_modules()
        if all(hasattr(_attention(block, side), part) for side in ("x_block", "context_block") for part in _NORMS)
    ]


def _attention(block: nn.Module, side: str) -> object:
    return getattr(getattr(block, side, None), "attn", None)


def find_cross_attention_layers(model: nn.Module) -> list[CrossAttentionLayer]:
    """Every cross-attention of the model, in the order of its modules.

    A transformer owns `transformer_blocks`; a block has `attn1` (self-attention) and `attn2`. Where `attn2` says
    itself that it is no cross-attention, or the block's first attention is a joint one (SD3's `attn`, whose `attn2`
    is a second self-attention), it is left alone.

    Raises:
        TraceError: there is none.
    """
    layers = [
        CrossAttentionLayer(
            f"{name}.transformer_blocks.{index}.attn2".lstrip("."), block.get_submodule("attn2"), spatial
        )
        for name, spatial in model.named_modules()
        for index, block in enumerate(_blocks(spatial))
        if _is_cross_attention(block)
    ]
    if not layers:
        raise TraceError(
            f"expected a model with cross-attention layers, such as Stable Diffusion's UNet; {type(model).__name__} "
            "has none that is known (of models with joint attention only the WebUI's SD3 can be traced)"
        )
    return layers


def compiled_modules(model: nn.Module) -> list[str]:
    """Names of the modules that torch.compile has replaced: hooks set afterwards are silently skipped there."""
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
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
