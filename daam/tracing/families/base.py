"""What every family of models owes the capture: its layers, its hooks, and what a layer attended with.

Families only look and hand over; the arithmetic is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from daam.errors import ShapeError
from daam.tracing.plan import Conditioning


class Attended(NamedTuple):
    """What one layer attended with in one call: the model's own tensors, not copies.

    Attributes:
        layer: its name inside the model.
        query: of the image's positions, [batch, position, head * channel] or [batch, position, head, channel].
        keys: parts that follow each other along the keys, each shaped as `query`.
        heads: number of heads.
        scale: multiplies the scores; None where the model does not say, so channel ** -0.5.
        size: (height, width) of the transformer's input, or of the grid of patches that the image was cut into.
        first_column: where the text's column 0 stands along the keys.
        key_of: the key that the layer would make of a context [1, token, channel] of the keys' type and device, shaped
            as `query`; None where words that are not in the prompt cannot be probed.
        context: what the keys were made of, [row, column, channel]; None where that is not known.
        key_weights: gives all that `key_of` uses; None where that is not known, so that it is asked in each call.
        mask: [batch or 1, head or 1, position or 1, token] of all keys; where boolean, False hides a token, else it is
            added to the scores; None where there is none.
    """

    layer: str
    query: Tensor
    keys: tuple[Tensor, ...]
    heads: int
    scale: float | None
    size: tuple[int, int]
    first_column: int = 0
    key_of: Callable[[Tensor], Tensor] | None = None
    context: Tensor | None = None
    key_weights: Callable[[], tuple[Tensor, ...] | None] | None = None
    mask: Tensor | None = None


class SelfAttended(NamedTuple):
    """What one layer attended to the picture itself with: the model's own tensors, not copies.

    Attributes:
        layer: its name inside the model.
        query, key: [batch, position, head * channel].
        scale: multiplies the scores; None where the model does not say, so channel ** -0.5.
        size: (height, width) of the transformer's input.
    """

    layer: str
    query: Tensor
    key: Tensor
    heads: int
    scale: float | None
    size: tuple[int, int]


class Words(NamedTuple):
    """Words that are not in the prompt.

    Attributes:
        vectors: [token, channel], as the model is conditioned with.
        places: of each, among the columns of the text that it was encoded in.
    """

    vectors: Tensor
    places: tuple[int, ...]


class Outputs(NamedTuple):
    """What one layer's joint attention gave in one call: the model's own tensors, not copies.

    Attributes:
        layer: its name inside the model.
        image: [batch, position, channel] of the picture's positions, the heads' channels one behind the other.
        text: [batch, column, channel] from the text's column 0 on.
        size: (height, width) of the positions.
        words: [batch, token, channel] of the words that are not in the prompt; None where there are none.
    """

    layer: str
    image: Tensor
    text: Tensor
    size: tuple[int, int]
    words: Tensor | None = None


class Sample(NamedTuple):
    """What a model is called to denoise.

    Attributes:
        rows: of the call.
        height, width: of the latent.
        is_tuning: it asks for gradients: a pass to change it by, as of Attend-and-Excite, not to sample with.
        columns: how many keys of its text each row has, where that may be fewer than its text has columns.
    """

    rows: int
    height: int
    width: int
    is_tuning: bool = False
    columns: tuple[int, ...] | None = None


class Watch:
    """Whether anything is to be seen now.

    Attributes:
        is_on: a call runs of which something is wanted.
        thread: the only one whose calls are watched; None watches all.
    """

    __slots__ = ("is_on", "thread")

    def __init__(self) -> None:
        self.is_on = False
        self.thread: int | None = None


@dataclass(frozen=True)
class Sight:
    """How a family is connected with the capture that watches.

    Attributes:
        guard: makes a torch hook of a method: silent where nothing is to be seen, and no fault of it reaches the model.
        watch: to be asked by hooks that do without the guard: they only take note of a tensor and cannot fail.
        see: takes what a layer attended with.
        see_again: takes a layer's query, its key, and what the key was made of, if all is as it was in an earlier call
            with latents of this size; where it says no, `see` is to be asked. It cannot fail, so it needs no guard.
        latent_size: (height, width) of the latent of the call that runs.
        see_self: takes what a layer attended to the picture itself with; None where that is of no interest.
        see_outputs: takes what a layer's joint attention gave; None where that is of no interest.
        words: that are not in the prompt, for families that must run them beside it; None where there are none.
    """

    guard: Callable[[Callable[..., None]], Callable[..., None]]
    watch: Watch
    see: Callable[[Attended], None]
    see_again: Callable[[str, Tensor, Tensor, Tensor], bool]
    latent_size: Callable[[], tuple[int, int]]
    see_self: Callable[[SelfAttended], None] | None = None
    see_outputs: Callable[[Outputs], None] | None = None
    words: Words | None = None


class Family(Protocol):
    """The layers of one model, found when it is made; its state lives in it from call to call.

    Attributes:
        probe_refusal: why words that are not in the prompt cannot be probed; None where they can.
        refined_refusal: why there are no refined maps; None where there may be.
        outputs_refusal: why there are no maps in the attention's output space; None where there may be.
        blind_spot: why layers that ran with a text may not have been seen.
        calls_by_side: whether pipelines may call the model once for each side, so that a step has several calls.
    """

    refined_refusal: ClassVar[str | None]
    outputs_refusal: ClassVar[str | None]
    blind_spot: ClassVar[str]
    calls_by_side: ClassVar[bool]

    @property
    def probe_refusal(self) -> str | None: ...

    @classmethod
    def find(cls, model: nn.Module) -> Family | None:
        """The family of this model's layers; None where it is another one."""

    def sample(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sample:
        """What a call of the model with these arguments is to denoise; asked once, at its beginning.

        Raises:
            ShapeError: no latents of pictures are among them.
        """

    def install(self, stack: ExitStack, sight: Sight) -> None:
        """Sets the hooks; the stack removes them."""

    def conditioning(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Conditioning | None:
        """What conditions the rows of a call of the model with these arguments; None where it was given none."""

    def replaced_self_attention(self) -> str | None:
        """Name of a layer whose self-attention something does in its own way; None where there is none."""

    def begin_call(self) -> None:
        """Forgets what a call before left behind.

        Raises:
            TraceError: the model has changed so that the hooks no longer see what it does.
        """


def argument(
    arguments: tuple[Any, ...], named: Mapping[str, Any], position: int, names: Sequence[str]
) -> Tensor | None:
    """A tensor that a model was called with, by place or by one of its names; None where it was not."""
    found = arguments[position] if len(arguments) > position else next((named[n] for n in names if n in named), None)
    return found if isinstance(found, Tensor) else None


def sample_of(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sample:
    """The latents [batch, channel, height, width] that a model gets as its first argument.

    Raises:
        ShapeError: it is no such tensor.
    """
    latents = first_input(arguments, named)
    return Sample(latents.shape[0], latents.shape[-2], latents.shape[-1], latents.requires_grad)


def first_input(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """The first argument of a call, however it was passed.

    Raises:
        ShapeError: it is no tensor [batch, channel, height, width].
    """
    tensor = arguments[0] if arguments else next(iter(named.values()))
    if isinstance(tensor, Tensor) and tensor.dim() == 5:
        raise ShapeError(
            f"expected the latents of pictures, [batch, channel, height, width], got {list(tensor.shape)}: a video's "
            "frames share one text, and their maps are not kept apart"
        )
    if not isinstance(tensor, Tensor) or tensor.dim() != 4:
        raise ShapeError("expected a model whose first input is [batch, channel, height, width]")
    return tensor
