"""Memory that is kept from call to call: new pages cost a processor more than what is written to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Room:
    """Memory to put layers of one shape together in, kept from call to call. Attributes: bytes: its size."""

    def __init__(self, like: Tensor, layers: int):
        """Args: like: [row, layer * place, channel], of so many layers."""
        with torch.inference_mode(False):  # so that it may be written to inside and outside of that mode
            self._whole = torch.empty_like(like)
        self._layers = layers
        self._parts = {layers: self._whole}
        self.bytes = like.numel() * like.element_size()

    def of(self, layers: int) -> Tensor | None:
        """[row, layer * place, channel] of so many layers; None where they are too many."""
        if layers > self._layers:
            return None
        if layers not in self._parts:
            rows, places, channels = self._whole.shape
            size = (rows, places // self._layers * layers, channels)
            self._parts[layers] = self._whole.view(-1)[: rows * size[1] * channels].view(size)
        return self._parts[layers]


class Scratch:
    """Memory for the probabilities of one group after the other, on a CPU, where new pages cost more than they do."""

    def __init__(self) -> None:
        self._flat: Tensor | None = None

    def of(self, size: tuple[int, ...], device: torch.device) -> Tensor | None:
        """Of this size, float32; None on other devices, whose allocators keep what is given back."""
        if device.type != "cpu":
            return None
        numbers = math.prod(size)
        if self._flat is None or self._flat.numel() < numbers:
            with torch.inference_mode(False):
                self._flat = torch.empty(numbers, dtype=torch.float32)
        return self._flat[:numbers].view(size)

    def release(self) -> None:
        self._flat = None
