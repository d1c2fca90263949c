"""Tiny transformers with joint attention and random weights, and their attention computed beside the library."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

CHANNELS = 24
"""Of the tiny text encoders."""
ROTARY = {"attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": CHANNELS}


def flux(**settings: Any) -> Any:
    """Two blocks with a stream each for text and image, two with one for both."""
    return _made(
        "FluxTransformer2DModel",
        {"in_channels": 16, "num_layers": 2, "num_single_layers": 2, "pooled_projection_dim": 32,
         "axes_dims_rope": (4, 6, 6), **ROTARY, **settings},
    )  # fmt: skip


def chroma() -> Any:
    return _made(
        "ChromaTransformer2DModel",
        {"in_channels": 16, "num_layers": 1, "num_single_layers": 2, "axes_dims_rope": (4, 6, 6),
         "approximator_num_channels": 64, "approximator_hidden_dim": 32, "approximator_layers": 1, **ROTARY},
    )  # fmt: skip


def flux2(**settings: Any) -> Any:
    return _made(
        "Flux2Transformer2DModel",
        {"in_channels": 16, "num_layers": 1, "num_single_layers": 2, "axes_dims_rope": (4, 4, 4, 4),
         "timestep_guidance_channels": 32, "guidance_embeds": False, **ROTARY, **settings},
    )  # fmt: skip


def qwen() -> Any:
    return _made(
        "QwenImageTransformer2DModel",
        {"in_channels": 16, "out_channels": 4, "num_layers": 2, "axes_dims_rope": (4, 6, 6), **ROTARY},
    )


def sd3(**settings: Any) -> Any:
    return _made(
        "SD3Transformer2DModel",
        {"sample_size": 8, "in_channels": 4, "out_channels": 4, "num_layers": 2, "caption_projection_dim": 32,
         "pooled_projection_dim": 64, "pos_embed_max_size": 32, "qk_norm": "rms_norm", "dual_attention_layers": (0,),
         **ROTARY, **settings},
    )  # fmt: skip


def lumina() -> Any:
    return _made(
        "Lumina2Transformer2DModel",
        {"sample_size": 8, "in_channels": 4, "hidden_size": 24, "num_layers": 2, "num_refiner_layers": 1,
         "num_attention_heads": 4, "num_kv_heads": 2, "multiple_of": 8, "axes_dim_rope": (2, 2, 2),
         "axes_lens": (128, 32, 32), "cap_feat_dim": CHANNELS},
    )  # fmt: skip


def z_image() -> Any:
    return _made(
        "ZImageTransformer2DModel",
        {"in_channels": 4, "dim": 32, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2,
         "cap_feat_dim": CHANNELS, "axes_dims": [4, 6, 6], "axes_lens": [256, 32, 32]},
    )  # fmt: skip


def _made(name: str, settings: dict[str, Any]) -> Any:
    if not hasattr(diffusers, name):
        pytest.skip(f"this version of diffusers has no {name}")
    torch.manual_seed(5)
    model = getattr(diffusers, name)(**settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # some are zeros, such as the gates' and the padding's
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter == 1))
    return model


class JointTruth:
    """Every attention of a model's blocks, from functions of the tests' own in the place of those that modules call.

    Attributes:
        probabilities: of each block, [row, position, token] of each call's first attention, summed over heads in double
            precision. What the model gets is still its own function's result.
        outputs: of each block, what its first attention gives, [row, position, head * channel] in double precision.
    """

    def __init__(self) -> None:
        self.probabilities: dict[str, list[Tensor]] = {}
        self.outputs: dict[str, list[Tensor]] = {}
        self.block: str | None = None

    def wrap(self, original: Any, is_dispatched: bool) -> Any:
        def attend(query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **named: Any) -> Any:
            block, self.block = self.block, None  # what it calls, and what the block attends to later, does not count
            result = original(query, key, value, *arguments, **named)
            if block is not None:
                mask = named.get("attn_mask", arguments[0] if arguments else None)
                parts = (query, key, value)
                q, k, v = (each.transpose(1, 2) for each in parts) if is_dispatched else parts
                whole = full_attention(q, k, mask, named.get("scale"))
                self.probabilities.setdefault(block, []).append(whole.sum(1))
                self.outputs.setdefault(block, []).append((whole @ v.double()).transpose(1, 2).flatten(2))
            return result

        return attend


def full_attention(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """[row, head, position, token] in double precision, all at once."""
    query, key = query.double(), key.double()
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None and mask.dtype is torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask.double()
    return scores.exp().div(scores.exp().sum(-1, keepdim=True))


@contextmanager
def joint_truth(model: nn.Module, blocks: Sequence[str]) -> Iterator[JointTruth]:
    """Args: blocks: paths of those whose attention counts."""
    truth = JointTruth()
    places = [(nn.functional, "scaled_dot_product_attention")]
    for name, module in list(sys.modules.items()):
        if name.startswith("diffusers.models.transformers.") and "dispatch_attention_fn" in vars(module):
            places.append((module, "dispatch_attention_fn"))
    originals = [(owner, name, getattr(owner, name)) for owner, name in places]
    handles = [
        model.get_submodule(block).register_forward_pre_hook(lambda *_, block=block: setattr(truth, "block", block))
        for block in blocks
    ]
    try:
        for owner, name, original in originals:
            setattr(owner, name, truth.wrap(original, name == "dispatch_attention_fn"))
        yield truth
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
        for handle in handles:
            handle.remove()
