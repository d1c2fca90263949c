"""The attention of a UNet, computed beside the library: every probability, from hooks of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Truth:
    """The probabilities of every cross-attention and call, from this test's own hooks: [row, position, token]."""

    def __init__(self, unet: nn.Module):
        self.calls: dict[str, list[Tensor]] = {}
        self._queries: dict[str, Tensor] = {}
        self._handles = []
        for name, module in unet.named_modules():
            if name.endswith("attn2"):
                for part in ("to_q", "to_k"):
                    hook = self._hook(name, part, module.heads)
                    self._handles.append(getattr(module, part).register_forward_hook(hook))

    def _hook(self, name: str, part: str, heads: int) -> Any:
        def see(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            by_head = output.unflatten(-1, (heads, -1)).transpose(1, 2).double()
            if part == "to_q":
                self._queries[name] = by_head
                return
            scores = self._queries[name] @ by_head.transpose(-1, -2) / by_head.shape[-1] ** 0.5
            self.calls.setdefault(name, []).append(scores.softmax(-1).sum(1))

        return see

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def check(self, tracer: Any, row: int, columns: list[int], *, image: int = 0, calls: slice = slice(None)) -> None:
        """The kept sums are those of this row, for these columns of the context."""
        (maps,) = (text for key, text in tracer.image_trace(image).texts.items() if key.side == "positive")
        places = [maps.text.columns.index(column) for column in columns]
        for name, kept in maps.sums.items():
            expected = sum(call[row][:, columns].T.cpu() for call in self.calls[name][calls])
            found = kept[places].flatten(1).double()
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@contextmanager
def truth_of(unet: nn.Module) -> Iterator[Truth]:
    truth = Truth(unet)
    try:
        yield truth
    finally:
        truth.remove()
