"""Which prompt stands behind each row of the model calls of one denoiser call: the host's word. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from daam.tracing.plan import ModelCall, Side


@dataclass(frozen=True)
class Row:
    """What one row stands for.

    Attributes:
        context: what the host encoded for it, [column, channel]; None where that is not known.
        repeats: how often its text stands behind itself in what the model gets, to be as long as another one.
    """

    image: int
    side: Side
    part: int = 0
    context: Tensor | None = field(default=None, compare=False, repr=False)
    repeats: int = 1


class RowOrder(Protocol):
    """Gives the rows of one denoiser call to the model calls that it makes, one or several.

    Attributes:
        rows: all of them, in the order in which the model gets them.
    """

    rows: list[Row]

    def take(self, call: ModelCall) -> Sequence[Row | None]:
        """The rows of the next model call, in its order; None for a row of no prompt of ours.

        Raises:
            ShapeError: the call does not fit what the denoiser said.
        """


class EncodedEntry(NamedTuple):
    """A text that was encoded: in use up to this call of the denoiser, counted from 0; context: [column, channel]."""

    end_at_step: int
    context: Tensor


@dataclass(frozen=True)
class Encoded:
    """What the host encoded for a pass: for each picture its AND parts, for each part its schedule."""

    positive: Sequence[Sequence[Sequence[EncodedEntry]]]
    negative: Sequence[Sequence[Sequence[EncodedEntry]]]


@dataclass(frozen=True)
class DenoiserCall:
    """What the host is about to ask of the model in one call of its denoiser.

    Attributes:
        owner: the processing object that samples.
        step: number of the call, from 0; the host chooses schedule entries by it.
        height, width: of the latent.
        order: of the rows in the model calls that follow.
        encoded: everything that was encoded for the pass, whichever step it is for.
        contexts: what was encoded for each row of this step, [column, channel].
        inputs: what the host will really cut into model calls, known when the first of them comes: the latents of all
            rows, [row, channel, height, width], and what conditions the positive ones, [row, column, channel].
    """

    owner: Any
    step: int
    height: int
    width: int
    order: RowOrder
    encoded: Encoded
    contexts: tuple[Tensor, ...] = ()
    inputs: Callable[[], tuple[Tensor, Tensor]] | None = None
