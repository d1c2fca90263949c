"""Queries and keys of a group of layers, in the shape and the type that they are multiplied in. Knows no model.

A processor works on rows of 16 numbers at once, and the few that are left over cost it as much as many. So there the
keys are filled up with zeros, whose scores nobody looks at.
"""

from __future__ import annotations

import torch
from torch import Tensor

from daam.tracing.attention import in_float32
from daam.tracing.memory import Scratch

LANES = 16
"""Numbers that a processor works on at once, in float32."""


def is_processor(device: torch.device) -> bool:
    """Whether it is worked on as on a processor, with filled up keys, in memory of its own."""
    return device.type == "cpu"


def filled_up(tokens: int, device: torch.device) -> int:
    """How many keys there are with those that nobody looks at; a graphics card does well with any number of them."""
    return -(-tokens // LANES) * LANES if is_processor(device) else tokens


def operand_of_queries(view: Tensor, scratch: Scratch) -> Tensor:
    """[matrix, position, channel], float32.

    Args:
        view: [layer, row, head, position, channel], any float type.
        scratch: memory for it on a processor.
    """
    if not is_processor(view.device):
        return in_float32(view).flatten(0, 2)
    whole, channels = scratch.of("query", tuple(view.shape), _cut_queries)
    channels.copy_(view)
    return whole


def _cut_queries(room: Tensor) -> tuple[Tensor, Tensor]:
    return room.flatten(0, 2), room


def operand_of_keys(view: Tensor, scratch: Scratch) -> Tensor:
    """[matrix, channel, token], float32; filled up where that is done.

    Args:
        view: [layer, row, head, token, channel], any float type.
        scratch: memory for it on a processor.
    """
    if not is_processor(view.device):
        return in_float32(view).flatten(0, 2).transpose(1, 2)
    *leading, tokens, width = view.shape
    whole, keys = scratch.of("key", (*leading, filled_up(tokens, view.device), width), _cut_keys)
    keys[..., :tokens, :].copy_(view)
    keys[..., tokens:, :].zero_()
    return whole


def _cut_keys(room: Tensor) -> tuple[Tensor, Tensor]:
    return room.flatten(0, 2).transpose(1, 2), room
