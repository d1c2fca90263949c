"""The order of AUTOMATIC1111's rows, which it may spread over several model calls.

Over every way of batching (AND, cond and uncond apart, NGMS, padding) the calls of one denoiser step take the rows
strictly in order: every part of every image, then one negative row for each image, twice for InstructPix2Pix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from daam.errors import ShapeError
from daam.tracing.plan import ModelCall
from daam.webui.hosts.rows import Row


@dataclass(frozen=True)
class StepRows:
    """The rows of one denoiser call.

    Attributes:
        parts: number of AND parts of each image.
        positive_rows: rows of the positive prompts: every part of every image.
        rows: all rows, with those of the negative prompts (twice for InstructPix2Pix).
        height, width: of the latent.
        contexts: what was encoded for each row, [column, channel]; empty where that is not known.
    """

    parts: tuple[int, ...]
    positive_rows: int
    rows: int
    height: int
    width: int
    contexts: tuple[Tensor, ...] = ()


class RowCursor:
    """Gives the rows of one denoiser call to the model calls that it makes."""

    def __init__(self, call: StepRows):
        """
        Raises:
            ShapeError: the number of rows does not fit the prompts.
        """
        self._call = call
        self._next = 0
        positive = [Row(image, "positive", part) for image, count in enumerate(call.parts) for part in range(count)]
        images = len(call.parts)
        negative = call.rows - len(positive)
        if len(positive) != call.positive_rows or images == 0 or negative % images:
            raise ShapeError(
                f"expected {len(positive)} rows for the prompts and a multiple of {images} for the negative ones, got "
                f"{call.positive_rows} and {negative}; another extension changes how the prompts are batched"
            )
        self.rows = positive + [Row(number % images, "negative") for number in range(negative)]
        if len(call.contexts) == len(self.rows):
            self.rows = [replace(row, context=context) for row, context in zip(self.rows, call.contexts)]

    def take(self, call: ModelCall) -> list[Row | None]:
        """The rows of the next model call; when all were given, further calls are an extension's own.

        Raises:
            ShapeError: the model is asked for more rows, or for another size, than the denoiser said.
        """
        if self._next == len(self.rows):  # Incantations' perturbed-attention guidance comes behind the step's own calls
            return [None] * call.rows
        if (call.height, call.width) != (self._call.height, self._call.width):
            raise ShapeError(
                f"expected a latent of {self._call.height}x{self._call.width}, the model got {call.height}x"
                f"{call.width}; an extension that works in tiles is active, whose maps cannot be put together"
            )
        taken: list[Row | None] = [*self.rows[self._next : self._next + call.rows]]
        if len(taken) != call.rows:
            raise ShapeError(
                f"expected at most {len(self.rows)} rows in one step, got {self._next + call.rows}; "
                "another extension calls the model on its own"
            )
        self._next += call.rows
        return taken
