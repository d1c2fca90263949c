"""What the family of joint attention must know of one kind of model: one class says it. Knows none itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from daam.tracing.families.base import Sample
from daam.tracing.families.seam import Binding
from daam.tracing.plan import Conditioning


class JointBlock(NamedTuple):
    """Attributes: name: its path in the model, such as "transformer_blocks.3", by which layers are selected."""

    name: str
    module: nn.Module


@dataclass(frozen=True)
class Places:
    """Where text and image stand along the positions of one call of the model.

    Attributes:
        sample: what the call denoises.
        grid: (height, width) in patches of the picture that is made; other pictures' positions are not among them.
        image: the first of its positions along the queries: of every row, or of each.
        first_column: where the text's column 0 stands along the keys.
        positions: of queries, and tokens: of keys, in a joint attention of this call: others are of something else.
        conditioning: what conditions the rows; its columns are the text's.
    """

    sample: Sample
    grid: tuple[int, int]
    image: int | tuple[int, ...]
    first_column: int
    positions: int
    tokens: int
    conditioning: Conditioning | None


class TextStream(Protocol):
    """How another text runs beside the prompt through a model whose blocks have a stream for the text.

    Attributes:
        blocks: those with such a stream, in their order.
        picture: by which of their arguments' names they get the picture, [row, position, channel].
    """

    blocks: Sequence[JointBlock]
    picture: ClassVar[str]

    def embedded(self, vectors: Tensor) -> Tensor:
        """What the first block gets of a text. Args: vectors: [token, channel], as the model is conditioned with."""

    def arguments(self, given: Mapping[str, Any], text: Tensor, places: Sequence[int]) -> dict[str, Any]:
        """What a block is called with, with another text.

        Args:
            given: its arguments, by name.
            text: [row, token, channel], as this block gets it.
            places: of each token, among the columns of the text that it was encoded in.

        Raises:
            TraceError: it is called with what is not known of it.
        """

    def text_of(self, given: tuple[Tensor, ...]) -> Tensor:
        """The text [row, token, channel] in what a block gives."""


class BlockStream:
    """What text streams have in common. Attributes: blocks: as in `TextStream`."""

    def __init__(self, blocks: Sequence[JointBlock], inputs: Sequence[nn.Module]):
        """Args: inputs: what a text goes through before the first block."""
        self.blocks = blocks
        self._inputs = inputs

    def embedded(self, vectors: Tensor) -> Tensor:
        text = vectors[None]
        for module in self._inputs:
            text = module.forward(text)  # not a call, which would run hooks of others
        return text


class JointModel(Protocol):
    """What is known of one kind of model. Made once for each model; may remember what it found.

    Attributes:
        name: by which users know the kind.
    """

    name: ClassVar[str]

    @classmethod
    def find(cls, model: nn.Module) -> JointModel | None:
        """None where the model is of another kind."""

    def blocks(self) -> Sequence[JointBlock]:
        """The blocks in which text and image attend to each other, in their order."""

    def bindings(self, block: nn.Module) -> Sequence[Binding]:
        """The names under which this block calls its attention function."""

    def text_stream(self) -> TextStream | None:
        """Along which words that are not in the prompt can run; None where text and image have one stream for both."""

    def places(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Places:
        """Where text and image stand in a call of the model with these arguments.

        Raises:
            ShapeError, TraceError: that cannot be told, or there is no picture.
        """


def blocks_of_lists(model: nn.Module, lists: Sequence[str]) -> list[JointBlock]:
    """The blocks of some lists of a model, named as it names them."""
    return [
        JointBlock(f"{name}.{number}", block) for name in lists for number, block in enumerate(getattr(model, name))
    ]


def of_image(tensor: Tensor, places: Places, dim: int) -> Tensor:
    """The part of a tensor that is of the picture's positions, along one of its dimensions; all where it has one."""
    if tensor.shape[dim] == 1:
        return tensor
    count = places.grid[0] * places.grid[1]
    if isinstance(places.image, int):
        return tensor.narrow(dim, places.image, count)
    rows = tensor.expand(len(places.image), *tensor.shape[1:])
    return torch.stack([row.narrow(dim - 1, start, count) for row, start in zip(rows, places.image)])
