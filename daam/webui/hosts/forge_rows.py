"""The order of the rows of Forge and its kin, which the model's own call tells: `cond_or_uncond` names each group.

A denoiser call makes one model call or several: by free memory, and where the prompts' lengths do not go into each
other. Each consists of groups of one row for every image. Groups of AND parts are taken from the end: the last part
comes first, over all calls of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from daam.errors import ShapeError
from daam.tracing.plan import Conditioning, ModelCall
from daam.webui.hosts.rows import Row

_POSITIVE, _NEGATIVE = 0, 1
"""What `cond_or_uncond` calls a group; other numbers are of extensions."""


class Lengths(NamedTuple):
    """Columns of what conditions the rows of each side before the host repeats it; None where there is none."""

    positive: int
    negative: int | None


class GroupedRows:
    """Gives the rows of one denoiser call to the model calls that it makes. See `rows.RowOrder`."""

    def __init__(
        self,
        parts: Sequence[int],
        size: tuple[int, int],
        lengths: Callable[[], Lengths],
        contexts: Sequence[Tensor] = (),
    ):
        """
        Args:
            parts: number of AND parts of each image; the host leaves out those that an image has more than another.
            size: (height, width) of the latent.
            lengths: asked when the first model call comes, because other extensions may change them until then.
            contexts: what was encoded for each row, [column, channel]: every part of every image, then the negative
                prompt of each image.
        """
        self._images, self._size, self._lengths = len(parts), size, lengths
        positive = iter(contexts[: sum(parts)])
        by_image = [[next(positive, None) for _ in range(count)] for count in parts]
        negative = [*contexts[sum(parts) :], *[None] * self._images]
        images = range(self._images)
        self._parts = [
            [Row(image, "positive", part, by_image[image][part]) for image in images]
            for part in range(min(parts, default=0))
        ]
        self._negative = [Row(image, "negative", 0, negative[image]) for image in images]
        self._left = {_POSITIVE: [*self._parts], _NEGATIVE: [self._negative]}
        self.rows = [*self._negative, *(row for group in reversed(self._parts) for row in group)]

    def take(self, call: ModelCall) -> list[Row | None]:
        """The rows of the next model call; those of groups that were had before are an extension's own.

        Raises:
            ShapeError: the model is asked for another number of rows, or for another size, than the denoiser said.
        """
        options = call.named.get("transformer_options")
        groups = options.get("cond_or_uncond") if isinstance(options, dict) else None
        if not groups or not any(self._left.get(group) for group in groups):
            return [None] * call.rows
        if (call.height, call.width) != self._size:
            raise ShapeError(
                f"expected a latent of {self._size[0]}x{self._size[1]}, the model got {call.height}x{call.width}; an "
                "extension that works in tiles is active, whose maps cannot be put together"
            )
        if call.rows != len(groups) * self._images:
            raise ShapeError(
                f"expected {len(groups)} rows for each of {self._images} pictures, the model got {call.rows} rows; "
                "another extension changes how the prompts are batched"
            )
        lengths = self._lengths()
        return [row for group in groups for row in self._group(group, call, lengths)]

    def _group(self, group: int, call: ModelCall, lengths: Lengths) -> list[Row | None]:
        if not self._left.get(group):
            return [None] * self._images
        length = lengths.positive if group == _POSITIVE else lengths.negative
        repeats = _repeats(call.conditioning, length)
        return [replace(row, repeats=repeats) for row in self._left[group].pop()]


def _repeats(conditioning: Conditioning | None, length: int | None) -> int:
    """How often the host has set a shorter text behind itself to make it as long as one it shares a call with."""
    if not isinstance(conditioning, Tensor) or not length or conditioning.shape[1] % length:
        return 1
    return conditioning.shape[1] // length
