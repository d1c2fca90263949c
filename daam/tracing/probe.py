"""Words that are not in the prompt, scored against the queries of a generation that was not made from them.

After OVAM (Marcos-Manchón et al., CVPR 2024). Their keys take part in the softmax beside the prompt's own, so that a
probe's map says how much attention the word would get if it stood in the prompt too; the picture is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from daam.errors import TermError
from daam.prompt.table import PromptPart, PromptTable, ScheduleEntry, TokenColumn
from daam.prompt.typed_words import word_columns, words_of
from daam.tracing.families.base import Attended
from daam.tracing.unchanged import Unchanged


@dataclass(frozen=True)
class Probe:
    """Words beside the prompt.

    Attributes:
        vectors: [token, channel], as the model's context holds them.
        table: what each of them stands for.
        places: of each, among the columns of the text that it was encoded in.
    """

    vectors: Tensor
    table: PromptTable
    places: tuple[int, ...] = ()

    @property
    def columns(self) -> tuple[int, ...]:
        return tuple(range(len(self.vectors)))

    @property
    def words(self) -> tuple[tuple[int, ...], ...]:
        """The columns of each word."""
        return tuple(word.columns for word in words_of(self.table.parts[0].schedule[0]).words)


def make_probe(texts: Sequence[tuple[PromptTable, Tensor]]) -> Probe:
    """One probe of several texts that were encoded one by one, so that none of them sees the others.

    Args:
        texts: the table of each, and the context [column, channel] that was made from it.

    Raises:
        TermError: there is no word in them.
    """
    vectors: list[Tensor] = []
    columns: list[TokenColumn] = []
    places: list[int] = []
    prompt, words = "", 0
    for table, context in texts:
        entry = table.parts[0].schedule[0]
        start = len(prompt) + 2 if prompt else 0
        prompt = f"{prompt}, {table.prompt}" if prompt else table.prompt
        for number in word_columns(entry):
            column = entry.columns[number]
            span = None if column.span is None else (column.span[0] + start, column.span[1] + start)
            word = None if column.word is None else column.word + words
            columns.append(replace(column, column=len(columns), span=span, word=word, chunk=0))
            vectors.append(context[number])
            places.append(number)
        words = 1 + max((column.word or 0 for column in columns), default=-1)
    if not vectors:
        raise TermError("expected at least one word to probe, got none")
    first = texts[0][0].parts[0].schedule[0]
    entry = ScheduleEntry(1, first.end_at_step, prompt, len(columns), ((prompt, 1.0),), (), tuple(columns))
    return Probe(torch.stack(vectors), PromptTable(prompt, (PromptPart(prompt, 1.0, (entry,)),)), tuple(places))


class ProbeKeys:
    """The keys that each layer makes of a probe: made once, and again where the layer's weights may have changed."""

    def __init__(self, vectors: Tensor):
        """Args: vectors: [token, channel]."""
        self._vectors = vectors
        self._made: dict[str, _Made] = {}

    def of(self, attended: Attended) -> Tensor:
        """[row, token, head * channel], the same for every row of the layer's keys."""
        assert attended.key_of is not None
        like = attended.keys[0]
        weights = None if attended.key_weights is None else attended.key_weights()
        made = self._made.get(attended.layer)
        if made is None or not made.is_like(like) or not made.is_of(weights):
            key = attended.key_of(self._vectors[None].to(like))
            made = _Made(key.expand(len(like), *key.shape[1:]), weights or ())
            self._made[attended.layer] = made
        return made.key

    def again(self, layer: str, weights: Sequence[Tensor] | None) -> Tensor | None:
        """The key that was made for a layer whose keys are like those of that time.

        Args: weights: what keys are made with now.

        Returns:
            [row, token, head * channel]; None where it has to be made anew.
        """
        made = self._made.get(layer)
        return made.key if made is not None and made.is_of(weights) else None


class _Made:
    """One layer's key, and what it was made with."""

    def __init__(self, key: Tensor, weights: Sequence[Tensor]):
        self.key, self.is_of = key, Unchanged(weights).is_of

    def is_like(self, key: Tensor) -> bool:
        """Args: key: of the call."""
        return len(key) == len(self.key) and key.dtype == self.key.dtype and key.device == self.key.device
