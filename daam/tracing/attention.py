"""Attention arithmetic on plain tensors. Knows no model and no host."""

from __future__ import annotations

import torch
from torch import Tensor

from daam.errors import ShapeError

CHUNK_ELEMENTS = 8 * 1024 * 1024
"""Probabilities that are held at once: 32 MiB in float32."""


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """To [batch, head, position, channel], as a view.

    Args:
        projected: [batch, position, head * channel], as a projection gives it, or [batch, position, head, channel].
    """
    if projected.dim() == 4:
        return projected.transpose(1, 2)
    batch, length, channels = projected.shape
    if channels % heads:
        raise ShapeError(f"expected channels divisible by {heads} heads, got a tensor of {channels} channels")
    return projected.view(batch, length, heads, channels // heads).transpose(1, 2)


def cross_attention_probabilities(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """How much each image position looks at each token.

    >>> query, key = torch.ones(1, 2, 16, 8), torch.ones(1, 2, 4, 8)  # one picture, two heads, four tokens alike
    >>> probabilities = cross_attention_probabilities(query, key, scale=8**-0.5)
    >>> probabilities.shape, probabilities[0, 0, 0].tolist()
    (torch.Size([1, 2, 16, 4]), [0.25, 0.25, 0.25, 0.25])

    Args:
        query: [batch, head, position, channel], any float type.
        key: [batch, head, token, channel], same device as `query`.
        scale: multiplies the scores; usually channel ** -0.5.

    Returns:
        [batch, head, position, token], float32. Sums to 1 over `token`.

    Raises:
        ShapeError: the two tensors disagree on batch, head or channel.
    """
    if query.shape[:2] != key.shape[:2] or query.shape[-1] != key.shape[-1]:
        raise ShapeError(
            "expected query and key with the same batch, head and channel, "
            f"got {tuple(query.shape)} and {tuple(key.shape)}"
        )
    with torch.autocast(query.device.type, enabled=False):
        scores = (query.float() * scale) @ key.float().transpose(-1, -2)
        return scores.softmax(dim=-1)


def sum_over_heads(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """The probabilities added up over the heads, without ever holding all of them.

    Args:
        query, key, scale: as for `cross_attention_probabilities`.

    Returns:
        [batch, position, token], float32. Sums to the number of heads over `token`.
    """
    batch, heads, _, _ = query.shape
    positions = max(1, CHUNK_ELEMENTS // (batch * heads * key.shape[2]))
    parts = torch.split(query, positions, dim=2)
    chunks = [cross_attention_probabilities(part, key, scale).sum(dim=1) for part in parts]
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks, dim=1)
