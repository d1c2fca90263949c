"""Queries and keys of a group of layers, in the shape and the type that they are multiplied in. Knows no model.

A processor multiplies and exponentiates rows of 16 numbers at once, and the few that are left over cost it as much as
many. So there the keys are filled up with some that nobody looks at. What hides them, and whatever else is added to the
scores of a token, stands behind its key's channels, and a one behind each query's: the product adds it by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from daam.tracing.attention import in_float32
from daam.tracing.memory import Scratch

LANES = 16
"""Numbers that a processor works on at once, in float32."""


def is_filled_up(device: torch.device) -> bool:
    """Whether keys are filled up there; a graphics card does well with any number of them."""
    return device.type == "cpu"


def filled_up(tokens: int, device: torch.device) -> int:
    """How many keys there are with those that nobody looks at."""
    return -(-tokens // LANES) * LANES if is_filled_up(device) else tokens


def filled_bias(bias: Tensor, tokens: int, scale: float) -> Tensor:
    """What is added to a token's score, and hides the keys that nobody looks at, before the product is scaled.

    Args:
        bias: [matrix or 1, token], float32.
        tokens: number of keys with those.
        scale: multiplies the scores.
    """
    return torch.nn.functional.pad(bias / scale, (0, tokens - bias.shape[-1]), value=-torch.inf)


def operand_of_queries(view: Tensor, scratch: Scratch) -> Tensor:
    """[matrix, position, channel], float32; where keys are filled up with a one behind the channels.

    Args:
        view: [layer, row, head, position, channel], any float type.
        scratch: memory for it where they are.
    """
    if not is_filled_up(view.device):
        return in_float32(view).flatten(0, 2)
    whole, channels, one = scratch.of("query", (*view.shape[:-1], view.shape[-1] + 1), _cut_queries)
    channels.copy_(view)
    one.fill_(1)
    return whole


def _cut_queries(room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return room.flatten(0, 2), room[..., :-1], room[..., -1]


def operand_of_keys(view: Tensor, bias: Tensor, scratch: Scratch) -> Tensor:
    """[matrix, channel, token], float32; filled up with the bias behind the channels, where that is done.

    Args:
        view: [layer, row, head, token, channel], any float type.
        bias: as `filled_bias` gives it.
        scratch: memory for it where it is.
    """
    if not is_filled_up(view.device):
        return in_float32(view).flatten(0, 2).transpose(1, 2)
    *leading, tokens, width = view.shape
    whole, channels, last = scratch.of("key", (*leading, bias.shape[-1], width + 1), _cut_keys)
    channels[..., :tokens, :].copy_(view)
    channels[..., tokens:, :].zero_()
    last.copy_(bias)
    return whole


def _cut_keys(room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    matrices = room.flatten(0, 2)
    return matrices.transpose(1, 2), room[..., :-1], matrices[..., -1]
