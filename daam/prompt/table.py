"""The token table: which column of the context comes from which piece of the typed prompt.

Plain data. Knows no tokenizer, no model and no host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["start", "text", "embedding", "padding", "end"]
Span = tuple[int, int]


@dataclass(frozen=True)
class TokenColumn:
    """One position along the keys of the cross-attention.

    Attributes:
        column: index in the whole context, 77 * chunk + position in the chunk.
        token: id in the tokenizer's vocabulary (0 stands for a vector of an embedding).
        piece: the text of the token as typed, or the embedding's name, or "" for start, end, padding.
        span: [start, end) in the typed prompt, or None where no typed text stands behind it.
        weight: multiplier that the emphasis gives it.
        chunk: number of the 77-column chunk.
        kind: what the column holds.
        word: number of the tokenizer's word within the entry, from 0; pieces of one word share it; None where
            there is no typed word. An embedding is one word.
    """

    column: int
    token: int
    piece: str
    span: Span | None
    weight: float
    chunk: int
    kind: Kind
    word: int | None = None


@dataclass(frozen=True)
class EmbeddingFix:
    """A textual-inversion embedding put over placeholders: `offset` counts in the chunk's 75 body positions."""

    offset: int
    name: str
    vectors: int


@dataclass(frozen=True)
class Chunk:
    """77 token ids with their multipliers, and the embeddings that replace some of them."""

    tokens: tuple[int, ...]
    multipliers: tuple[float, ...]
    fixes: tuple[EmbeddingFix, ...]


@dataclass(frozen=True)
class ScheduleEntry:
    """The text that is active from `first_step` to `end_at_step`, both counted from 1 and inclusive.

    Attributes:
        attention: runs of text with their weight, in order; ("BREAK", -1.0) starts a new chunk.
        token_count: number of tokens without start, end and padding, as the host's counter shows it.
    """

    first_step: int
    end_at_step: int
    text: str
    token_count: int
    attention: tuple[tuple[str, float], ...]
    chunks: tuple[Chunk, ...]
    columns: tuple[TokenColumn, ...]


@dataclass(frozen=True)
class PromptPart:
    """One part of a prompt joined by AND: its text, its weight and its schedule.

    Attributes:
        sampling_pass: 0; 1 for a part of the second pass of a WebUI's hires fix.
    """

    text: str
    weight: float
    schedule: tuple[ScheduleEntry, ...]
    sampling_pass: int = 0


@dataclass(frozen=True)
class ExtraNetworkTag:
    """A tag such as <lora:name:0.8> that the host removes before encoding; `span` is where it was typed."""

    text: str
    span: Span


@dataclass(frozen=True)
class PromptTable:
    """Everything known of one prompt: its AND parts, and the tags that were taken out of it."""

    prompt: str
    parts: tuple[PromptPart, ...]
    tags: tuple[ExtraNetworkTag, ...] = ()


def active_entry(part: PromptPart, call: int) -> int:
    """Number of the schedule entry that conditions a model call.

    The host counts calls from 0 and takes the first entry whose end is not before the call, so a first entry that
    ends at step 10 is active for eleven calls; past the end of the schedule it falls back to the first entry.

    Args:
        call: number of the model call, from 0.
    """
    return next((number for number, entry in enumerate(part.schedule) if call <= entry.end_at_step), 0)
