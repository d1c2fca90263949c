"""Where and in which numbers the training computes. Knows no network."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass

import torch

logger = logging.getLogger(__name__)
SIDE = 768
"""Of the matrices that the two kinds of numbers are timed on."""
LEAST_GAIN = 1.5


@dataclass(frozen=True)
class Compute:
    """A device, and whether matrix products and convolutions run in bfloat16 there; weights stay float32."""

    device: torch.device
    is_bfloat16: bool

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """Of the products."""
        return torch.bfloat16 if self.is_bfloat16 else torch.float32

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16)


def choose_compute(device: str) -> Compute:
    """bfloat16 where products of matrices are clearly faster in it, else float32; says which, and why."""
    place = torch.device(device)
    torch.backends.cudnn.benchmark = True  # a GPU tries its kernels once, since shapes stay what they are
    slow, fast = (_seconds_of_a_product(place, dtype) for dtype in (torch.float32, torch.bfloat16))
    chosen = Compute(place, fast * LEAST_GAIN < slow)
    rates = [2 * SIDE**3 / seconds / 1e9 for seconds in (slow, fast)]
    logger.info(
        "%s: matrix products at %.0f GFLOP/s in float32, %.0f in bfloat16; training in %s",
        device, *rates, "bfloat16" if chosen.is_bfloat16 else "float32, since bfloat16 is not fast here",
    )  # fmt: skip
    return chosen


def _seconds_of_a_product(device: torch.device, dtype: torch.dtype, repeats: int = 3) -> float:
    """The quickest of a few, after one that does not count."""
    matrix = torch.ones(SIDE, SIDE, dtype=dtype, device=device)
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # reading a number waits for the device
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
