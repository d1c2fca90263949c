"""Which text stands behind each row of a model call. Plain data; each host makes its own plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

Side = Literal["positive", "negative", "probe"]
"""Which prompt: "probe" is of words that conditioned nothing, see `daam.tracing.probe`."""


Conditioning = Tensor | Sequence[Tensor]
"""What conditions the rows of a call: [row, column, channel], or [column, channel] for each row."""


class TextKey(NamedTuple):
    """Names one text that conditions one image: AND parts and schedule entries have maps of their own.

    Attributes:
        image: number of the picture within the generation.
        side: whether it pulls the picture towards it or away from it, or only looks on.
        part: number of the AND part.
        entry: number of the schedule entry within the part.
    """

    image: int
    side: Side
    part: int = 0
    entry: int = 0


@dataclass(frozen=True)
class TracedText:
    """A text whose maps are wanted.

    Attributes:
        columns: the columns of the context whose maps are kept.
        detail_columns: the columns whose maps are kept for each step or head, when that was asked for.
        refined_columns: the columns that have refined maps too, when those were asked for.
        output_words: the columns of each word and sign that has maps in the output space, when those were asked for.
        repeats: how often the text stands behind itself along the keys; its maps are those of all its copies together.
    """

    key: TextKey
    columns: tuple[int, ...]
    detail_columns: tuple[int, ...] = ()
    refined_columns: tuple[int, ...] = ()
    repeats: int = 1
    output_words: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class ModelCall:
    """What is known when the model is called.

    Attributes:
        rows: of the batch.
        height, width: of the latent.
        conditioning: what conditions the rows; None where the model was given none.
        timestep: what the model was told of the noise level; one object for all calls of a step, as loops have it.
        is_tuning: the latent asks for gradients: a pass to change it by, as of Attend-and-Excite, not to sample with.
        named: what the model was called with by name, for hosts that leave marks there.
    """

    rows: int
    height: int
    width: int
    conditioning: Conditioning | None = field(default=None, compare=False, repr=False)
    timestep: Any = field(default=None, compare=False, repr=False)
    is_tuning: bool = False
    named: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class RowPlan(Protocol):
    """Says, for one call of the model, which text stands behind each row; None for rows of no interest."""

    def __call__(self, call: ModelCall) -> Sequence[TracedText | None]: ...


def first_rows(texts: Mapping[int, TracedText]) -> Iterator[tuple[int, int]]:
    """(row, image) of each picture's first positive row, which stands for the picture where words beside it are probed.

    Args: texts: of the rows of a call.
    """
    taken: set[int] = set()
    for row, text in texts.items():
        if text.key.side == "positive" and text.key.image not in taken:
            taken.add(text.key.image)
            yield row, text.key.image


def version_of(tensor: Tensor) -> int:
    """Tells whether a tensor was written to since; tensors of inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version
