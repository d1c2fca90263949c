"""Puts a few numbers on a device without waiting for it. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def on_device(
    numbers: Sequence[float] | Sequence[bool], device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """The numbers as a tensor there.

    Made there at once, or by indexing with a list, they would hold the processor up until CUDA is through with all that
    it was given before. Elsewhere nothing is put off.

    Returns:
        [number], of `dtype`, or of torch's usual one for such numbers.
    """
    return torch.tensor(numbers, dtype=dtype).to(device, non_blocking=device.type == "cuda")
