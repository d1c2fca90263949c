"""Which scenes are drawn how often while the training goes on: easy ones first, then the whole world."""

from __future__ import annotations

import torch
from torch import Tensor

from .dataset import Data

EASY_STEPS = 3000
"""Of 32 scenes; of larger batches fewer, by the root of their size. Shapes appear between 45,000 and 75,000 scenes;
going on with easy ones spoils the heat maps."""


def easy_steps(batch: int) -> int:
    return round(EASY_STEPS * (32 / batch) ** 0.5)


def easy_weights(data: Data) -> Tensor:
    """How often each scene is drawn at first, relative to the others: [scene].

    One or two shapes that are not small, on plain grounds; with single shapes alone the coarse layers learn to read
    words everywhere at once.
    """
    return (data.is_shapes & ~data.has_small & (data.objects <= 2)).float()


def weights(data: Data) -> Tensor:
    """The same for everything that follows: scenes of shapes twice as often as things and landscapes."""
    frequent = torch.where(data.is_shapes, 2.0, 1.0) * torch.where(data.has_near, 1.5, 1.0)
    return frequent * torch.where(data.has_small, 0.6, 1.0) * torch.where(data.objects == 3, 0.6, 1.0)
