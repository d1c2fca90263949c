"""Attention as the training computes it: quicker than the usual kernels, and over a context cut short.

The exported model uses diffusers' own attention over all 77 tokens; both give the same numbers but for rounding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .dataset import LENGTH

CONTEXT = 32
"""So many tokens are encoded while training: no caption is longer, so the last one is always padding."""
DIFFUSERS_MASK = -10000.0
"""diffusers turns a mask m into (1 - m) times this, added to the scores."""


def context_mask(batch: int, device: torch.device) -> Tensor:
    """A mask for diffusers under which the last key stands for itself and for the paddings that were left out.

    Returns:
        [batch, CONTEXT]: ones, and a last column that adds log(46) to its scores.
    """
    mask = torch.ones(batch, CONTEXT, device=device)
    mask[:, -1] = 1 - math.log(LENGTH - CONTEXT + 1) / DIFFUSERS_MASK
    return mask


class PlainAttention:
    """Two products of matrices and a softmax, as an attention processor of diffusers.

    On a CPU the fused kernel's backward is slow, most of all in bfloat16.
    """

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """As diffusers calls its processors; states are [batch, position, channel]."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for projected in (attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context))
        )
        scores = (query * attention.scale) @ key.mT
        if attention_mask is not None:
            scores = scores + attention_mask.view(len(scores), 1, 1, -1).to(scores.dtype)
        mixed = scores.softmax(dim=-1) @ value
        return torch.as_tensor(attention.to_out[0](mixed.transpose(1, 2).flatten(2)))
