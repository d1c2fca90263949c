"""Packs tokens into chunks of 77 columns as AUTOMATIC1111's WebUI does. Knows no prompt syntax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from daam.errors import PromptError
from daam.prompt.embeddings import EmbeddingWord
from daam.prompt.limits import MAX_CHUNKS, check_limit
from daam.prompt.table import Chunk, EmbeddingFix, Kind, Span, TokenColumn
from daam.prompt.tokenizer import ClipTokenizer

BODY = 75
"""Columns of a chunk between its start and its end."""


class Slot(NamedTuple):
    """What goes into one column: a token, where it was typed, its weight and its word.

    One is made for every token: a frozen dataclass takes three times as long.
    """

    token: int
    weight: float
    piece: str
    span: Span | None
    word: int | None
    kind: Kind = "text"


@dataclass(frozen=True)
class _PlacedFix:
    offset: int
    embedding: EmbeddingWord
    slot: Slot


@dataclass
class _OpenChunk:
    slots: list[Slot] = field(default_factory=list)
    fixes: list[_PlacedFix] = field(default_factory=list)


class ChunkPacker:
    """Takes tokens and embeddings in order, then gives chunks, their columns and the token count.

    Args:
        comma_padding: how far back a comma may be for the text after it to move to the next chunk when a chunk is
            full; 0 moves nothing.
        known: chunks of the prompt's other texts; they count towards the limit.
    """

    def __init__(self, tokenizer: ClipTokenizer, comma_padding: int, known: int = 0) -> None:
        self._tokenizer = tokenizer
        self._comma_padding = comma_padding
        self._known = known
        self._open = _OpenChunk()
        self._after_comma: int | None = None
        self._closed: list[_OpenChunk] = []
        self.token_count = 0

    def make_room(self, token: int) -> None:
        """Before anything that starts with `token`: note a comma, or start a new chunk when this one is full."""
        size = len(self._open.slots)
        if token == self._tokenizer.comma_token:
            self._after_comma = size + 1
        elif size == BODY and self._after_comma is not None and size - self._after_comma < self._comma_padding:
            self._move_tail(self._after_comma)
        if len(self._open.slots) == BODY:
            self.start_chunk()

    def add_token(self, slot: Slot) -> None:
        """Put one token into the next column."""
        self._open.slots.append(slot)

    def add_embedding(self, embedding: EmbeddingWord, slot: Slot) -> None:
        """Put an embedding into the next columns; `slot` describes each of them.

        Raises:
            PromptError: no chunk is long enough for its vectors.
        """
        if embedding.vectors > BODY:
            raise PromptError(
                f"embedding {embedding.name!r} has {embedding.vectors} vectors; a chunk holds at most {BODY}. "
                "Take its name out of the prompt."
            )
        if len(self._open.slots) + embedding.vectors > BODY:
            self.start_chunk()
        self._open.fixes.append(_PlacedFix(len(self._open.slots), embedding, slot))
        self._open.slots.extend([slot] * embedding.vectors)

    def start_chunk(self) -> None:
        """Close this chunk as it is; the rest of it counts as used."""
        self.token_count += BODY
        self._close()

    def finish(self) -> tuple[tuple[Chunk, ...], tuple[TokenColumn, ...]]:
        """All chunks, at least one, and their columns. Call it once, at the end."""
        if self._open.slots or not self._closed:
            self.token_count += len(self._open.slots)
            self._close()
        columns = [self._columns(number, chunk) for number, chunk in enumerate(self._closed)]
        chunks = tuple(_to_chunk(chunk, cells) for chunk, cells in zip(self._closed, columns))
        return chunks, tuple(column for cells in columns for column in cells)

    def _move_tail(self, start: int) -> None:
        """Move what follows a comma to a new chunk.

        As in the WebUI, an embedding in the tail moves only its placeholders: its vectors stay at the offset where
        they were, over the padding of the old chunk, and the placeholders encode as the plain token 0.
        """
        tail = self._open.slots[start:]
        del self._open.slots[start:]
        self.start_chunk()
        self._open.slots = tail

    def _close(self) -> None:
        self._closed.append(self._open)
        check_limit(self._known + len(self._closed), MAX_CHUNKS, "chunks of 77 tokens")
        self._open = _OpenChunk()
        self._after_comma = None

    def _columns(self, number: int, chunk: _OpenChunk) -> list[TokenColumn]:
        end = self._tokenizer.end_token
        slots = [Slot(self._tokenizer.start_token, 1.0, "", None, None, "start"), *chunk.slots]
        slots += [Slot(end, 1.0, "", None, None, "padding")] * (BODY + 1 - len(slots))
        slots.append(Slot(end, 1.0, "", None, None, "end"))
        for fix in chunk.fixes:
            for index in range(fix.offset + 1, fix.offset + 1 + fix.embedding.vectors):
                slots[index] = fix.slot._replace(
                    token=slots[index].token,
                    weight=slots[index].weight,
                    piece=fix.embedding.name,
                    kind="embedding",
                )
        first = number * (BODY + 2)
        return [
            TokenColumn(first + index, slot.token, slot.piece, slot.span, slot.weight, number, slot.kind, slot.word)
            for index, slot in enumerate(slots)
        ]


def _to_chunk(chunk: _OpenChunk, columns: Sequence[TokenColumn]) -> Chunk:
    return Chunk(
        tokens=tuple(column.token for column in columns),
        multipliers=tuple(column.weight for column in columns),
        fixes=tuple(EmbeddingFix(fix.offset, fix.embedding.name, fix.embedding.vectors) for fix in chunk.fixes),
    )
