"""The columns of an encoder that makes no chunks: T5 behind CLIP in Stable Diffusion 3; T5, Qwen 3 or Gemma 2 alone.

Knows no host and no tokenizer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Literal

from daam.errors import TraceError
from daam.prompt.table import PromptTable, ScheduleEntry, Span, TokenColumn

CHUNK = 77
BREAK = ("BREAK", -1.0)
Runs = Sequence[tuple[str, float]]
"""A text in pieces, each with its weight, as the WebUI's reading of emphasis gives them."""


@dataclass(frozen=True)
class T5:
    """The WebUI's T5 encoder, or another one that makes no chunks.

    Attributes:
        cut: runs to (token, start, end) for each token of each run; a token of a template, which was not in the run,
            starts where it ends.
        tokens: a text and a number of columns to the token of each column, as the WebUI encodes them; an encoder that
            stands alone has as many as it makes, and is not asked for a number.
        at_break: what it does with BREAK: nothing, or it is the end of what is encoded, or a word like others.
    """

    cut: Callable[[Runs], Sequence[Sequence[tuple[int, int, int]]]]
    tokens: Callable[[str, int], Sequence[int]]
    at_break: Literal["nothing", "end", "word"] = "nothing"


@dataclass(frozen=True)
class _Letter:
    """A letter of a word as CLIP's tokenizer sees it: the number of the word, and where the letter was typed."""

    letter: str
    word: int
    span: Span


def with_t5_columns(table: PromptTable, t5: T5) -> PromptTable:
    """The table with T5's columns: a word's pieces of both tokenizers belong to one word.

    The WebUI encodes the entries of a schedule together, so all have as many chunks as the longest, and as many columns
    of T5 as of CLIP.

    Raises:
        TraceError: the WebUI cuts a text into other T5 tokens than its tokenizer does run by run.
    """
    parts = []
    for part in table.parts:
        count = max(len(entry.columns) for entry in part.schedule)
        parts.append(replace(part, schedule=tuple(_extended(entry, count, t5) for entry in part.schedule)))
    return replace(table, parts=tuple(parts))


def in_t5_columns(table: PromptTable, t5: T5) -> PromptTable:
    """The table with T5's columns in the place of CLIP's, where T5 alone conditions the model.

    Raises:
        TraceError: as for `with_t5_columns`; or a schedule has BREAK in it, and the encoder makes a text of its own of
            what stands behind, which the WebUI takes for the schedule's next entry.
    """
    if t5.at_break == "end" and any(_is_mixed_up(part.schedule) for part in table.parts):
        raise TraceError(
            "BREAK stands beside prompt editing: this WebUI encodes what is behind BREAK as a text of its own, for the "
            "steps of the text after it; leave one of them out"
        )

    def entry_of(entry: ScheduleEntry) -> ScheduleEntry:
        return replace(entry, columns=tuple(_t5_columns(entry, 0, t5.tokens(entry.text, 0), t5)))

    parts = [replace(part, schedule=tuple(map(entry_of, part.schedule))) for part in table.parts]
    return replace(table, parts=tuple(parts))


def _is_mixed_up(schedule: Sequence[ScheduleEntry]) -> bool:
    return len(schedule) > 1 and any(BREAK in entry.attention for entry in schedule)


def _extended(entry: ScheduleEntry, count: int, t5: T5) -> ScheduleEntry:
    padding = entry.columns[-1].token
    filled = [
        TokenColumn(column, padding, "", None, 1.0, column // CHUNK, "padding")
        for column in range(len(entry.columns), count)
    ]
    theirs = t5.tokens(entry.text, count)
    return replace(entry, columns=(*entry.columns, *filled, *_t5_columns(entry, count, theirs, t5)))


def _runs(entry: ScheduleEntry, t5: T5) -> list[tuple[str, float]]:
    """What is encoded, with its weight."""
    runs = [(text, weight) for text, weight in entry.attention]
    if t5.at_break == "end":
        return runs[: runs.index(BREAK)] if BREAK in runs else runs
    return runs if t5.at_break == "word" else [run for run in runs if run != BREAK]


def _t5_columns(entry: ScheduleEntry, first: int, theirs: Sequence[int], t5: T5) -> Iterator[TokenColumn]:
    """Args: first: number of the first column; theirs: the token of each of them."""
    count = len(theirs)
    runs = _runs(entry, t5)
    cut = t5.cut(runs)
    pieces = [(*piece, run) for run, tokens in enumerate(cut) for piece in _with_blanks(tokens)][:count]
    if [token for token, *_ in pieces[: count - 1]] != list(theirs[: min(len(pieces), count - 1)]):
        raise TraceError("the checkpoint's T5 encoder cuts the prompt into other tokens than its tokenizer does")
    letters = _letters_of_runs(entry, [text for text, _ in runs])
    for position, token in enumerate(theirs):
        column = first + position
        if position >= len(pieces):
            kind = "end" if position == len(pieces) else "padding"
            yield TokenColumn(column, token, "", None, 1.0, first // CHUNK, kind)  # type: ignore[arg-type]
            continue
        _, start, end, run = pieces[position]
        text, weight = runs[run]
        own = [letters[run, place] for place in range(start, end) if (run, place) in letters]
        span = (min(each.span[0] for each in own), max(each.span[1] for each in own)) if own else None
        word = own[0].word if own else None
        yield TokenColumn(column, token, text[start:end].strip(), span, weight, first // CHUNK, "text", word)


def _with_blanks(tokens: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """A token that stands for the blank before a word is said to have its first letter: it goes with the next token."""
    for (token, start, end), following in zip(tokens, [*tokens[1:], (0, 0, 0)]):
        yield token, start, following[2] if start == following[1] and end < following[2] else end


def _letters_of_runs(entry: ScheduleEntry, runs: Sequence[str]) -> dict[tuple[int, int], _Letter]:
    """For each letter of the runs, by number of the run and place in it: what CLIP's tokenizer makes of it."""
    known = list(_letters(entry.columns))
    places = [(run, place) for run, text in enumerate(runs) for place, letter in enumerate(text) if letter.strip()]
    wanted = [runs[run][place].casefold() for run, place in places]
    matcher = SequenceMatcher(None, wanted, [each.letter for each in known], autojunk=False)
    return {
        places[block.a + at]: known[block.b + at] for block in matcher.get_matching_blocks() for at in range(block.size)
    }


def _letters(columns: Iterable[TokenColumn]) -> Iterator[_Letter]:
    embeddings = set()
    for column in columns:
        if column.word is None or column.span is None or column.word in embeddings:
            continue
        if column.kind == "embedding":  # each of its vectors has the whole name
            embeddings.add(column.word)
        start, end = column.span
        is_plain = len(column.piece) == end - start
        for place, letter in enumerate(column.piece):
            if letter.strip():
                span = (start + place, start + place + 1) if is_plain else column.span
                yield _Letter(letter.casefold(), column.word, span)
