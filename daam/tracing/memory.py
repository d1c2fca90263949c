"""Memory that is kept from call to call: new pages cost a processor more than what is written to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Parts = TypeVar("Parts")


class Room:
    """Memory to put layers of one shape together in, kept from call to call. Attributes: bytes: its size."""

    def __init__(self, like: Tensor, layers: int, view: Callable[[int, Tensor], Tensor]):
        """
        Args:
            like: [row, layer * place, channel], of so many layers.
            view: makes one of memory for so many layers.
        """
        with torch.inference_mode(False):  # so that it may be written to inside and outside of that mode
            self._whole = torch.empty_like(like)
        self._layers, self._view = layers, view
        self._parts: dict[int, tuple[Tensor, Tensor]] = {}
        self.bytes = like.numel() * like.element_size()

    def of(self, layers: int) -> tuple[Tensor, Tensor] | None:
        """[row, layer * place, channel] of so many layers, and the view of it; None where they are too many."""
        if layers > self._layers:
            return None
        if layers not in self._parts:
            rows, places, channels = self._whole.shape
            size = (rows, places // self._layers * layers, channels)
            with torch.inference_mode(False):
                part = self._whole.view(-1)[: rows * size[1] * channels].view(size)
                self._parts[layers] = part, self._view(layers, part)
        return self._parts[layers]


class Scratch:
    """Memory in float32 for what one group after the other needs only until it is worked off; on a CPU."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}
        self._parts: dict[tuple[str, tuple[int, ...], Callable[[Tensor], Any]], Any] = {}

    def of(self, use: str, size: tuple[int, ...], cut: Callable[[Tensor], Parts]) -> Parts:
        """Memory of this size, with any numbers in it, cut into parts that are kept with it.

        Args:
            use: what for; uses do not share memory.
            cut: makes views of it.
        """
        found = self._parts.get((use, size, cut))
        return self._made(use, size, cut) if found is None else found

    def _made(self, use: str, size: tuple[int, ...], cut: Callable[[Tensor], Parts]) -> Parts:
        numbers, flat = math.prod(size), self._flat.get(use)
        with torch.inference_mode(False):
            if flat is None or flat.numel() < numbers:
                self._parts = {key: parts for key, parts in self._parts.items() if key[0] != use}
                flat = self._flat[use] = torch.empty(numbers, dtype=torch.float32)
            parts = self._parts[use, size, cut] = cut(flat[:numbers].view(size))
        return parts

    def release(self) -> None:
        """Gives everything back."""
        self._flat.clear()
        self._parts.clear()
