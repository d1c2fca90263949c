"""The token table of a text that SD.Next encodes: fragments of one weight that its parser cut, in chunks of 77 columns.

Its parsers leave out brackets and weights, and the native one blanks and some punctuation too; so each letter of a
fragment is looked for in the typed text, in order. Knows no host: fragments are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from daam.errors import TraceError
from daam.hosts.diffusers_tokens import pieces_of
from daam.prompt.emphasis import read_emphasis
from daam.prompt.source_text import SourceText
from daam.prompt.table import Chunk, ScheduleEntry, Span, TokenColumn

BODY = 75
"""Columns of a chunk between its start and its end."""
BREAK = "BREAK"
_BREAKS = re.compile(r"\bBREAK\b|##")


class Fragment(NamedTuple):
    """Neighbouring text of one weight, as it is tokenised."""

    text: str
    weight: float


Chunking = Callable[[Sequence[Fragment]], Sequence[Sequence[int]]]
"""Fragments between two BREAKs to the tokens of each of their chunks, from its start to its padding."""


class _Cell(NamedTuple):
    """What goes into one column; nothing typed stands behind one without span."""

    token: int
    piece: str
    span: Span | None
    weight: float
    word: int | None
    is_embedding: bool


class Columns:
    """Makes the columns of texts with one tokenizer of transformers."""

    def __init__(self, tokenizer: object, *, splits_at_break: bool, chunks: Chunking | None = None):
        """
        Args:
            splits_at_break: BREAK begins a new chunk; else it is a word that is encoded.
            chunks: how the host cuts a text; None where a chunk is full before the next one begins.
        """
        self._tokenizer, self._chunks = tokenizer, chunks
        self._splits_at_break = splits_at_break
        self._added: Mapping[str, int] = tokenizer.get_added_vocab()  # type: ignore[attr-defined]

    def entry(
        self, text: SourceText, fragments: Sequence[Fragment], first_step: int, end_at_step: int, length: int | None
    ) -> ScheduleEntry:
        """One text of a schedule.

        Args:
            fragments: what the host made of the text, in order.
            length: how many columns were encoded; None where that is not known. Padding beyond is left out.

        Raises:
            TraceError: the fragments are not in the text, or more columns hold words than were encoded.
        """
        chunks = [chunk for section in self._sections(text, fragments) for chunk in self._cut(*section)]
        columns = [column for number, chunk in enumerate(chunks) for column in self._chunk(number, chunk)]
        count = sum(map(len, chunks))
        if length is not None:
            if any(column.span is not None for column in columns[length:]):
                raise TraceError(
                    f"expected the prompt to be encoded to {len(columns)} columns, got {length}: SD.Next's prompt "
                    "parser encoded it in a way that is not known"
                )
            columns = columns[:length]
        made = tuple(
            Chunk(tuple(each.token for each in own), tuple(each.weight for each in own), ())
            for number in range(len(chunks))
            if (own := [column for column in columns if column.chunk == number])
        )
        attention = tuple((fragment.text, fragment.weight) for fragment in fragments)
        return ScheduleEntry(first_step, end_at_step, text.text, count, attention, made, tuple(columns))

    def _sections(
        self, text: SourceText, fragments: Sequence[Fragment]
    ) -> Iterator[tuple[list[Fragment], list[_Cell]]]:
        """What stands between two BREAKs."""
        letters = _Letters(text)
        section: list[Fragment] = []
        cells: list[_Cell] = []
        words = 0
        for fragment in fragments:
            if fragment.text == BREAK and self._splits_at_break:
                if section:
                    yield section, cells
                section, cells = [], []
                continue
            added = self._cells(fragment, letters, words)
            words = 1 + max((cell.word for cell in added if cell.word is not None), default=words - 1)
            section, cells = [*section, fragment], cells + added
        if section:
            yield section, cells

    def _cut(self, section: Sequence[Fragment], cells: Sequence[_Cell]) -> Iterator[Sequence[_Cell]]:
        """The cells of each chunk."""
        if self._chunks is None:
            yield from (cells[place : place + BODY] for place in range(0, len(cells) or 1, BODY))
            return
        end, place = _ends(self._tokenizer)[1], 0
        for tokens in self._chunks(section):
            body = list(tokens)[1:]
            body = body[: body.index(end)] if end in body else body
            own = cells[place : place + len(body)]
            if [cell.token for cell in own] != body:
                raise TraceError(
                    "SD.Next cuts the prompt into other tokens than its tokenizer does fragment by fragment"
                )
            yield own
            place += len(body)

    def _cells(self, fragment: Fragment, letters: _Letters, words: int) -> list[_Cell]:
        cells: list[_Cell] = []
        typed = _Typed(fragment.text, letters)
        for token, start, end, word in pieces_of(self._tokenizer, fragment.text):
            piece = fragment.text[start:end]
            is_embedding = piece in self._added
            if fragment.text == BREAK:
                span, number = None, None
            elif is_embedding and cells and re.fullmatch(re.escape(cells[-1].piece) + r"_\d+", piece):
                piece, span, number = cells[-1].piece, cells[-1].span, cells[-1].word  # a further vector of one word
            else:
                span, number = typed.span(start, end), words + word
            cells.append(_Cell(token, piece, span, fragment.weight, number, is_embedding))
        return cells

    def _chunk(self, number: int, cells: Sequence[_Cell]) -> Iterator[TokenColumn]:
        first, start, end = number * (BODY + 2), *_ends(self._tokenizer)
        yield TokenColumn(first, start, "", None, 1.0, number, "start")
        for place, cell in enumerate(cells, start=first + 1):
            kind = "padding" if cell.span is None else "embedding" if cell.is_embedding else "text"
            yield TokenColumn(place, cell.token, cell.piece, cell.span, cell.weight, number, kind, cell.word)  # type: ignore[arg-type]
        for place in range(first + 1 + len(cells), first + BODY + 2):
            kind = "end" if place == first + 1 + len(cells) else "padding"
            yield TokenColumn(place, end, "", None, 1.0, number, kind)  # type: ignore[arg-type]


def _ends(tokenizer: object) -> tuple[int, int]:
    return int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)  # type: ignore[attr-defined]


class _Letters:
    """The letters of a typed text without brackets, weights, BREAK and blanks; they are taken in their order."""

    def __init__(self, text: SourceText):
        self._letters: list[tuple[str, Span]] = []
        self._next = 0
        for run in read_emphasis(text):
            breaks = {place for match in _BREAKS.finditer(run.text.text) for place in range(*match.span())}
            self._letters += [
                (letter, run.text.span(place, place + 1))
                for place, letter in enumerate(run.text.text)
                if place not in breaks and not letter.isspace()
            ]

    def take(self, letter: str) -> Span | None:
        """Where the next such letter was typed; None where it comes no more."""
        while self._next < len(self._letters) and self._letters[self._next][0] != letter:
            self._next += 1
        if self._next == len(self._letters):
            return None
        self._next += 1
        return self._letters[self._next - 1][1]


class _Typed:
    """Where the pieces of one fragment were typed. Several pieces may be parts of one letter, as of 猫 or an emoji."""

    def __init__(self, text: str, letters: _Letters):
        self._text, self._letters = text, letters
        self._spans: dict[int, Span | None] = {}

    def span(self, start: int, end: int) -> Span:
        """Args: start, end: of a piece within the fragment; pieces are asked for in their order.

        Raises:
            TraceError: the piece is not where it was typed.
        """
        places = [place for place in range(start, end) if not self._text[place].isspace()]
        for place in places:
            if place not in self._spans:
                self._spans[place] = self._letters.take(self._text[place])
        found = [span for span in map(self._spans.get, places) if span is not None]
        if not found or len(found) < len(places):
            raise TraceError(
                f"SD.Next's prompt parser made {self._text[start:end]!r} of the prompt, which is not where it was "
                "typed, so that no column can be given to a word"
            )
        return found[0][0], found[-1][1]
