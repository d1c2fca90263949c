"""The token table of a prompt that a pipeline encodes with a language model: T5, Qwen, Gemma. One text, no chunks.

Pipelines put templates and system prompts around what was typed, and cut some of that off again: the columns are those
that are left, and only what was typed is a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from daam.errors import PromptError, TraceError
from daam.hosts.diffusers_tokens import one_text
from daam.prompt.table import PromptTable, Span, TokenColumn
from daam.prompt.typed_words import is_sign
from daam.prompt.words import is_unspaced, word_spans


@dataclass(frozen=True)
class Framed:
    """A prompt inside of the text that is really encoded.

    Attributes:
        text: all of it.
        start: where the prompt begins in it.
        dropped: of its first tokens, how many the pipeline cuts off again.
        limit: of its tokens, after which it is cut off; None where nothing is.
    """

    text: str
    start: int = 0
    dropped: int = 0
    limit: int | None = None


def framed_table(prompt: str, tokenizer: Any, framed: Framed) -> PromptTable:
    """Which column stands for which word, without padding.

    Args:
        prompt: as typed; every span counts in it.
        tokenizer: a fast one of transformers.

    Raises:
        PromptError: the tokenizer knows no character positions, or the prompt is not where it is said to be.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise PromptError(
            "the tokens of this prompt cannot be matched with its text: this tokenizer knows no character positions; "
            "use a fast tokenizer (transformers 5)"
        )
    end = framed.start + len(prompt)
    if framed.text[framed.start : end] != prompt:
        raise PromptError("the prompt is not in the text that its template makes of it, so its words have no tokens")
    cut = {} if framed.limit is None else {"truncation": True, "max_length": framed.limit}
    encoded = tokenizer(framed.text, return_offsets_mapping=True, **cut)
    words = word_spans(prompt)
    columns: list[TokenColumn] = []
    for token, offsets in list(zip(encoded["input_ids"], encoded["offset_mapping"]))[framed.dropped :]:
        span = _own_part(prompt, (offsets[0] - framed.start, offsets[1] - framed.start))
        if span is None:
            is_behind = offsets[0] >= end or (offsets[1] == 0 and any(column.word is not None for column in columns))
            kind = "end" if is_behind else "start"
            columns.append(TokenColumn(len(columns), token, "", None, 1.0, 0, kind))  # type: ignore[arg-type]
            continue
        span, word = _word_of(prompt, span, words)
        columns.append(TokenColumn(len(columns), token, prompt[slice(*span)], span, 1.0, 0, "text", word))
    return one_text(prompt, columns)


def _own_part(prompt: str, span: Span) -> Span | None:
    """What a token has of the prompt, without blanks around it; None where it has nothing."""
    start, end = max(span[0], 0), min(span[1], len(prompt))
    while start < end and prompt[start].isspace():
        start += 1
    while end > start and prompt[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _word_of(prompt: str, span: Span, words: Sequence[Span]) -> tuple[Span, int]:
    """The part of a token that is in words, and the number of the first of them: `(red` is of `red`, `2024` of `2`."""
    touched = [number for number, (start, end) in enumerate(words) if start < span[1] and span[0] < end]
    own = [number for number in touched if not is_sign(prompt[slice(*words[number])])] or touched
    if not own or is_unspaced(prompt[span[0]]):  # there each token is a word, and tokens of one character are one
        return span, len(words) + span[0]
    return (max(span[0], words[own[0]][0]), min(span[1], words[own[-1]][1])), own[0]


def fitted(table: PromptTable, columns: int, length: int | None) -> PromptTable:
    """The table, as long as what was really encoded; padding that nobody looks at is left out.

    Args:
        columns: of the context.
        length: how many of them hold tokens, where the pipeline said so.

    Raises:
        TraceError: the text was encoded to another number of tokens.
    """
    own = table.parts[0].schedule[0].columns
    if len(own) > columns or (length is not None and len(own) != length):
        raise TraceError(
            f"expected the prompt, in its template, to be encoded to {len(own)} columns, got "
            f"{columns if length is None else length}: this pipeline encodes it in a way that is not known"
        )
    end = columns if length is None else length
    padding = [TokenColumn(column, 0, "", None, 1.0, 0, "padding") for column in range(len(own), end)]
    return one_text(table.prompt, [*own, *padding])


def stretched(table: PromptTable, columns: int) -> PromptTable:
    """The table with columns of pictures that the text was encoded with, which stand before what was typed."""
    own = list(table.parts[0].schedule[0].columns)
    missing = columns - len(own)
    first = next((place for place, column in enumerate(own) if column.kind != "start"), len(own))
    if missing < 0:
        return table
    filled = [TokenColumn(0, 0, "", None, 1.0, 0, "start")] * missing
    every = [*own[:first], *filled, *own[first:]]
    return one_text(table.prompt, [replace(column, column=place) for place, column in enumerate(every)])


def joined(first: PromptTable, second: PromptTable | None, columns: int) -> PromptTable:
    """The columns of two encoders, one behind the other: pieces of a word belong to one word, whoever cut them.

    Args:
        second: of the same prompt; None where the second encoder got another text, or there is none.
        columns: of both together.
    """
    own = list(first.parts[0].schedule[0].columns)
    words = {place: column.word for column in own if column.span for place in range(*column.span)}
    behind = () if second is None else second.parts[0].schedule[0].columns
    fresh = 1 + max((word for word in words.values() if word is not None), default=-1)
    for column in behind:
        known = [words[place] for place in range(*column.span) if place in words] if column.span else []
        word = None if column.word is None else (known[0] if known else fresh + column.word)
        own.append(replace(column, column=len(own), chunk=1, word=word))
    own += [TokenColumn(place, 0, "", None, 1.0, 1, "padding") for place in range(len(own), columns)]
    return one_text(first.prompt, own)
