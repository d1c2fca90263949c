"""The token table of a prompt that a diffusers pipeline encodes by itself: plain text, one chunk, no A1111 syntax."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from daam.errors import PromptError
from daam.prompt import ClipTokenizer, TokenPiece
from daam.prompt.table import Chunk, PromptPart, PromptTable, ScheduleEntry, Span, TokenColumn

ALWAYS = 1_000_000
"""Last step of a text that is active to the end."""


def plain_table(prompt: str, tokenizer: Any, expanded: str | None = None) -> PromptTable:
    """Which column stands for which word when `tokenizer` encodes `prompt` as diffusers does.

    Args:
        tokenizer: transformers' CLIPTokenizer, fast or slow.
        expanded: the prompt after `pipe.maybe_convert_prompt`, where textual-inversion words of several vectors are
            written as several tokens.

    Raises:
        PromptError: tokens and text cannot be brought together.
    """
    expanded = prompt if expanded is None else expanded
    encoded = tokenizer(expanded, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)
    ids = tuple(int(token) for token in encoded["input_ids"])
    pieces = _pieces(tokenizer, expanded, ids)
    if expanded != prompt:
        pieces = _typed_pieces(pieces, _expansion_map(tokenizer, prompt, expanded))
    columns, body = [], min(len(pieces), len(ids) - 2)
    for column, token in enumerate(ids):
        columns.append(_column(tokenizer, prompt, column, token, pieces[: len(ids) - 2]))
    return one_text(prompt, columns, body)


def one_text(prompt: str, columns: Sequence[TokenColumn], count: int | None = None) -> PromptTable:
    """The table of a prompt that is one text from the first step to the last, as one chunk.

    Args: count: of its tokens; None counts those of what was typed.
    """
    count = sum(column.span is not None for column in columns) if count is None else count
    ids = tuple(column.token for column in columns)
    chunk = Chunk(ids, (1.0,) * len(ids), ())
    entry = ScheduleEntry(1, ALWAYS, prompt, count, ((prompt, 1.0),), (chunk,), tuple(columns))
    return PromptTable(prompt, (PromptPart(prompt, 1.0, (entry,)),))


def pieces_of(tokenizer: Any, text: str) -> list[TokenPiece]:
    """The tokens of a text, without start and end, each with its place in it.

    Raises:
        PromptError: tokens and text cannot be brought together.
    """
    ids = tuple(int(token) for token in tokenizer(text)["input_ids"])
    return [TokenPiece(token, *span, word) for token, (span, word) in zip(ids[1:], _pieces(tokenizer, text, ids))]


_Piece = tuple[Span, int]
"""Span in the text, and number of the word."""


def _column(tokenizer: Any, prompt: str, column: int, token: int, pieces: list[_Piece]) -> TokenColumn:
    if column == 0:
        return TokenColumn(column, token, "", None, 1.0, 0, "start")
    if column > len(pieces):
        kind = "end" if column == len(pieces) + 1 else "padding"
        return TokenColumn(column, token, "", None, 1.0, 0, kind)  # type: ignore[arg-type]
    span, word = pieces[column - 1]
    is_embedding = token >= tokenizer.vocab_size
    return TokenColumn(column, token, prompt[slice(*span)], span, 1.0, 0, "embedding" if is_embedding else "text", word)


def _pieces(tokenizer: Any, text: str, ids: tuple[int, ...]) -> list[_Piece]:
    """Args: ids: what the tokenizer made of the text, with start and end."""
    return _fast_pieces(tokenizer, text) if tokenizer.is_fast else _slow_pieces(tokenizer, text, ids)


def _fast_pieces(tokenizer: Any, text: str) -> list[_Piece]:
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    words = encoded.word_ids()
    numbers: dict[Any, int] = {}
    pieces = []
    for offsets, word in zip(encoded["offset_mapping"], words):
        start, end = _without_blanks(text, offsets)
        pieces.append(((start, end), numbers.setdefault(word, len(numbers))))
    return pieces


def _without_blanks(text: str, span: Span) -> Span:
    start, end = span
    while start < end - 1 and text[start].isspace():
        start += 1
    while end > start + 1 and text[end - 1].isspace():
        end -= 1
    return start, end


def _slow_pieces(tokenizer: Any, text: str, ids: tuple[int, ...]) -> list[_Piece]:
    """Slow tokenizers know no offsets: our own tokenizer does, and must agree with what was really encoded."""
    own, added = ClipTokenizer.from_transformers(tokenizer), tokenizer.get_added_vocab()
    pieces: list[_Piece] = []
    tokens: list[int] = []
    position = 0
    for segment in re.split(f"({_any_of(added)})", text) if added else [text]:
        word = pieces[-1][1] + 1 if pieces else 0
        found = [TokenPiece(added[segment], 0, len(segment), 0)] if segment in added else own.encode(segment)
        pieces += [((position + piece.start, position + piece.end), word + piece.word) for piece in found]
        tokens += [piece.token for piece in found]
        position += len(segment)
    tokens = tokens[: len(ids) - 2]
    if tuple(tokens) != ids[1 : 1 + len(tokens)]:
        raise PromptError(
            "the tokens of this prompt cannot be matched with its text: this tokenizer knows no character positions "
            "and reads words otherwise than CLIP's; use a fast tokenizer (transformers 5)"
        )
    return pieces


def _any_of(words: Iterable[str]) -> str:
    """A pattern of any of the words; where one begins with another, the longer one is meant."""
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _typed_pieces(pieces: list[_Piece], back: list[int | None]) -> list[_Piece]:
    """The pieces in the typed prompt: a further vector of an expanded word belongs to the piece before it."""
    typed: list[_Piece] = []
    for (start, end), word in pieces:
        first, last = back[start], back[end - 1]
        typed.append(typed[-1] if first is None or last is None else ((first, last + 1), word))
    return typed


def _expansion_map(tokenizer: Any, prompt: str, expanded: str) -> list[int | None]:
    """For each character of the expanded prompt, its place in the typed one; None where nothing was typed.

    diffusers writes a textual-inversion word `<x>` of three vectors as `<x> <x>_1 <x>_2`.
    """
    back: list[int | None] = []
    typed = 0
    added = [token for token in tokenizer.get_added_vocab() if token in prompt]
    for match in _split_keeping(_any_of(added), expanded):
        if prompt.startswith(match, typed):
            back += range(typed, typed + len(match))
            typed += len(match)
        else:
            back += itertools.repeat(None, len(match))
    return back


def _split_keeping(pattern: str, text: str) -> list[str]:
    """The text cut at an expansion `<x> <x>_1 <x>_2`: its first word apart from the rest."""
    parts, position = [], 0
    for match in re.finditer(rf"(?P<word>{pattern})(?P<rest>(?: (?P=word)_\d+)+)", text):
        parts += [text[position : match.end("word")], match["rest"]]
        position = match.end()
    return [part for part in [*parts, text[position:]] if part]
