"""From queries and keys to the shares of the wanted tokens, for all layers of one shape together. Knows no model.

On a graphics card one kernel makes the whole softmax. A processor makes the exponentials of all tokens too, but divides
only those that are wanted, and in powers of two: together less than half of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from daam.tracing import operands
from daam.tracing.attention import are_exact, exponentials, probabilities
from daam.tracing.memory import Scratch


class _Scores(NamedTuple):
    """Memory for the scores of filled up keys, and views of it.

    Attributes:
        matrices: [matrix, position, token], all of it.
        every, own, probe: of all real tokens, of the prompt's, and of the probe's, [layer, row, head, position, token].
        span: of the wanted ones of the prompt's, and what is between them.
    """

    matrices: Tensor
    every: Tensor
    own: Tensor
    span: Tensor
    probe: Tensor


class Shares:
    """Of the layers of one shape, whose keys are the prompt's and behind them a probe's.

    A probe's tokens share the softmax with the prompt's. The prompt's own shares are then divided by their sum, so that
    they are those that they are without a probe.
    """

    def __init__(self, own_tokens: int, probed: int, span: slice, device: torch.device):
        """
        Args:
            own_tokens, probed: number of the prompt's tokens and of the probe's.
            span: from the first wanted token of the prompt to the last: as words stand behind each other, there is
                hardly one between them that is not wanted.
        """
        self._own_tokens, self._probed, self._span = own_tokens, probed, span
        self._tokens = own_tokens + probed
        self._filled_tokens = operands.filled_up(self._tokens, device)
        self._wanted = span.stop - span.start + probed
        self._are_exponentials_exact = operands.is_processor(device)

    def of(
        self, size: tuple[int, int, int], query: Tensor, key: Tensor, scale: float, bias: Tensor, scratch: Scratch
    ) -> tuple[Tensor, bool]:
        """
        Args:
            size: number of layers, rows and heads.
            query, key, scale, bias: as for `probabilities`, of keys that are filled up.

        Returns:
            [layer, row, head, position, column] of the prompt's span, and the probe's behind it, float32; and whether
            they are known to be finite.
        """
        if self._are_exponentials_exact:
            found = self._of_exponentials((*size, query.shape[1]), query, key, scale, bias, scratch)
            if found is not None:
                return found, True
            self._are_exponentials_exact = False  # nor will they be in later calls
        if self._filled_tokens > self._tokens:
            key = key[..., : self._tokens]
            bias = bias[..., : self._tokens]
        every = probabilities(query, key, scale, bias)
        return self.of_softmax(every.view(*size, *every.shape[1:])), False

    def of_softmax(self, every: Tensor) -> Tensor:
        """The same of shares of all tokens, [layer, row, head, position, token]."""
        span = every[..., self._span]
        if not self._probed:
            return span
        own = every[..., : self._own_tokens].sum(dim=-1, keepdim=True)
        return torch.cat([span / own, every[..., self._own_tokens :]], dim=-1)

    def _of_exponentials(
        self, size: tuple[int, ...], query: Tensor, key: Tensor, scale: float, bias: Tensor, scratch: Scratch
    ) -> Tensor | None:
        """None where float32 cannot hold them."""
        scores = scratch.of("scores", (*size, self._filled_tokens), self._cut_scores)
        sums, own, whole = scratch.of("sums", (1 + bool(self._probed), *size, 1), _cut_sums)
        exponentials(query, key, scale, bias, scores.matrices)
        torch.sum(scores.own, dim=-1, keepdim=True, out=own)
        if self._probed:
            torch.sum(scores.every, dim=-1, keepdim=True, out=whole)
        if not are_exact(sums):
            return None
        shares, span, probe = scratch.of("shares", (*size, self._wanted), self._cut_shares)
        torch.div(scores.span, own, out=span)
        if self._probed:
            torch.div(scores.probe, whole, out=probe)
        return shares

    def _cut_scores(self, room: Tensor) -> _Scores:
        every, own = room[..., : self._tokens], room[..., : self._own_tokens]
        return _Scores(room.flatten(0, 2), every, own, own[..., self._span], every[..., self._own_tokens :])

    def _cut_shares(self, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probed = self._wanted - self._probed
        return room, room[..., :probed], room[..., probed:]


def _cut_sums(room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Memory for sums over tokens: all of it, for those of the prompt's tokens, and for those of all."""
    return room, room[0], room[-1]
