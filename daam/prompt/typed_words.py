"""The words of a token table as their writers know them: `1girl` is one word, a comma is none.

The one place that derives them; each table and each of its texts is gone through once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from daam.prompt.table import PromptTable, ScheduleEntry, Span, TokenColumn
from daam.prompt.words import is_unspaced, split_words

Derived = TypeVar("Derived")


@dataclass(frozen=True)
class Word:
    """One typed word of an entry.

    Attributes:
        parts: what the tokenizer makes of it; `1girl` is 1 and girl, and an embedding's name may have several.
        columns: all of them, in order.
        is_sign: it is punctuation: a term may name it, but it is no word of its own.
    """

    parts: tuple[str, ...]
    text: str
    columns: tuple[int, ...]
    span: Span
    is_sign: bool = False


class EntryWords:
    """The words of one text, signs included, in order."""

    def __init__(self, columns: Sequence[TokenColumn]) -> None:
        self.words = tuple(_word(columns, group) for group in _typed_groups(columns))

    @cached_property
    def by_first(self) -> dict[str, list[int]]:
        """Numbers of the words by their first sub-word."""
        found: dict[str, list[int]] = {}
        for number, word in enumerate(self.words):
            if word.parts:
                found.setdefault(word.parts[0], []).append(number)
        return found

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """All columns that hold a word or a sign."""
        return tuple(column for word in self.words for column in word.columns)


class TableWords:
    """The words of a whole table; entries of one text, as those of an alternation, share theirs."""

    def __init__(self, table: PromptTable) -> None:
        self._entries: dict[tuple[int, int], EntryWords] = {}
        known: dict[tuple[int, str], tuple[tuple[TokenColumn, ...], EntryWords]] = {}
        for part_number, part in enumerate(table.parts):
            for entry_number, entry in enumerate(part.schedule):
                columns, words = known.get((part_number, entry.text), ((), None))
                if words is None or (columns is not entry.columns and columns != entry.columns):
                    words = words_of(entry)
                    known[part_number, entry.text] = entry.columns, words
                self._entries[part_number, entry_number] = words

    def __iter__(self) -> Iterator[tuple[tuple[int, int], EntryWords]]:
        """((part, entry), its words) in order."""
        return iter(self._entries.items())

    def of(self, part: int, entry: int) -> EntryWords:
        return self._entries[part, entry]

    @cached_property
    def texts(self) -> tuple[tuple[int, EntryWords], ...]:
        """(part, words) of each different text of each part, once."""
        found = {(part, id(words)): (part, words) for (part, _), words in self}
        return tuple(found.values())

    @cached_property
    def starts(self) -> dict[tuple[str, ...], list[int]]:
        """Where the words of each spelling begin in the prompt, sorted."""
        found: dict[tuple[str, ...], set[int]] = {}
        for _, words in self.texts:
            for word in words.words:
                found.setdefault(word.parts, set()).add(word.span[0])
        return {parts: sorted(starts) for parts, starts in found.items()}


def table_words(table: PromptTable) -> TableWords:
    """The words of a table, derived when first asked for."""
    return derived(table, "_words", lambda: TableWords(table))


def entry_words(entry: ScheduleEntry) -> list[Word]:
    """The words of a schedule entry, in order, without punctuation.

    >>> table = daam.parse_prompt("1girl, (8k:1.2) photo", tokenizer)
    >>> [word.text for word in entry_words(table.parts[0].schedule[0])]
    ['1girl', '8k', 'photo']
    """
    return [word for word in words_of(entry).words if not word.is_sign]


def words_of(entry: ScheduleEntry) -> EntryWords:
    """The words and signs of an entry, derived when first asked for."""
    return derived(entry, "_words", lambda: EntryWords(entry.columns))


def word_columns(entry: ScheduleEntry) -> tuple[int, ...]:
    """All columns that hold a word or a sign of the prompt."""
    return words_of(entry).columns


MARKS: dict[str, Callable[[TokenColumn], bool]] = {
    "<start>": lambda column: column.kind == "start",
    "<end>": lambda column: column.kind in ("end", "padding"),
}
"""What stands around the words of each chunk, by the name that it is asked for with; the first such column counts."""


def mark_columns(entry: ScheduleEntry, name: str) -> tuple[int, ...]:
    """The columns of a mark, one in each chunk. The end is right behind the last word, where CLIP's own end token is.

    >>> entry = daam.parse_prompt("a circle", tokenizer).parts[0].schedule[0]
    >>> mark_columns(entry, "<start>"), mark_columns(entry, "<end>")
    ((0,), (3,))
    """
    found: dict[int, int] = {}
    for column in entry.columns:
        if MARKS[name](column):
            found.setdefault(column.chunk, column.column)
    return tuple(found.values())


def kept_columns(entry: ScheduleEntry) -> tuple[int, ...]:
    """All columns whose maps are kept: of words, signs and marks."""
    marks = [column for name in MARKS for column in mark_columns(entry, name)]
    return tuple(sorted({*word_columns(entry), *marks}))


def derived(owner: PromptTable | ScheduleEntry, name: str, make: Callable[[], Derived]) -> Derived:
    """What follows from plain data that never changes, made once and kept with it, as by `cached_property`.

    The data's own module may not know what follows from it; comparing, copying and printing do not see it.
    """
    kept = owner.__dict__
    if name not in kept:
        kept[name] = make()
    value: Derived = kept[name]
    return value


def is_sign(text: str) -> bool:
    """Whether a text is punctuation alone: no letter, no digit, no emoji."""
    return all(
        unicodedata.category(letter)[0] in "PZC" or (ord(letter) <= 0x2000 and not letter.isalnum()) for letter in text
    )


def _typed_groups(columns: Sequence[TokenColumn]) -> list[list[TokenColumn]]:
    """The columns of each typed word: the tokenizer's words, joined where letters and digits touch."""
    groups: dict[int, list[TokenColumn]] = {}
    for column in columns:
        if column.word is not None and column.span is not None:
            groups.setdefault(column.word, []).append(column)
    found = list(groups.values())
    joined = found[:1]
    for before, after in pairwise(found):
        if _are_one_word(before[-1], after[0]):
            joined[-1] = [*joined[-1], *after]
        else:
            joined.append(after)
    return joined


def _are_one_word(before: TokenColumn, after: TokenColumn) -> bool:
    """Two neighbours that the tokenizer cut apart and nobody else would: `1|girl`, `8|k`, `cat|'s`.

    In a script without blanks what the tokenizer took for a word is one.
    """
    if before.kind != "text" or after.kind != "text" or before.span is None or after.span is None:
        return False
    if before.span[1] != after.span[0]:
        return False
    if is_unspaced(before.piece[-1:]) and is_unspaced(after.piece[:1]):
        return False
    is_ending = len(after.piece) > 1 and after.piece[0] == "'" and after.piece[1:].isalpha()
    return before.piece[-1:].isalnum() and (after.piece[:1].isalnum() or is_ending)


def _word(columns: Sequence[TokenColumn], tokens: Sequence[TokenColumn]) -> Word:
    text, end = "", -1
    for token in tokens:
        if token.span is not None and token.span[1] > end:  # tokens of one character, such as an emoji's, share it
            text, end = text + token.piece[max(0, end - token.span[0]) :], token.span[1]
    spans = [token.span for token in tokens if token.span is not None]
    span = (min(start for start, _ in spans), max(end for _, end in spans))
    return Word(split_words(text), text, tuple(token.column for token in tokens), span, is_sign(text))
