"""Which scenes are drawn how often while the training goes on: easy ones first, then the whole world."""

from __future__ import annotations

import torch
from torch import Tensor

from .dataset import Data

EASY_STEPS = 3000
"""Of 32. Shapes appear between 45,000 and 75,000 scenes; going on with easy ones spoils the heat maps."""


def weights(data: Data, step: int) -> Tensor:
    """How often each scene is drawn at a step, relative to the others: [scene].

    First one or two shapes that are not small, on plain grounds; with single shapes alone the coarse layers learn to
    read words everywhere at once. Then everything, scenes of shapes twice as often as things and landscapes.
    """
    easy = data.is_shapes & ~data.has_small & (data.objects <= 2)
    return easy.float() if step < EASY_STEPS else _whole_world(data)


def _whole_world(data: Data) -> Tensor:
    frequent = torch.where(data.is_shapes, 2.0, 1.0) * torch.where(data.has_near, 1.5, 1.0)
    return frequent * torch.where(data.has_small, 0.6, 1.0) * torch.where(data.objects == 3, 0.6, 1.0)
