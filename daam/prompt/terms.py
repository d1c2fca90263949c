"""Attention terms: reads a comma-separated list and finds each term's columns in a token table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lark import Lark, Token, Transformer
from lark.exceptions import LarkError

from daam.errors import TermError
from daam.prompt.table import PromptTable, ScheduleEntry, Span
from daam.prompt.typed_words import MARKS, EntryWords, Word, derived, mark_columns, table_words, word_columns, words_of
from daam.prompt.words import split_words

MAX_CHARACTERS = 100_000

GRAMMAR = r"""
start: term ("," term)*
term: (QUOTED | WEIGHT | OCCURRENCE | BRACKET | ESCAPED | LETTERS)*

QUOTED.4: /"[^"]*"(?=[\s()\[\]]*(?:[,#:]|$))/
WEIGHT.3: /:\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?=[\s)\]]*(?:[,#]|$))/
OCCURRENCE.3: /#\d+(?=[\s)\]]*(?:,|$))/
BRACKET.2: /[()\[\]]/
ESCAPED.2: /\\[\s\S]/
LETTERS.1: /[^",()\[\]:#\\]+|[":#\\]/
"""


@dataclass(frozen=True)
class Term:
    """One thing to find in the prompt.

    Attributes:
        text: as shown to the user: without weight and brackets, with the "#2" of an occurrence.
        words: the words the tokenizer sees, lower case.
        occurrence: 1 for the first place in the prompt; None merges all places.
    """

    text: str
    words: tuple[str, ...]
    occurrence: int | None = None

    @property
    def quoted(self) -> str:
        """The term as it can be read again: in quotes, or with backslashes, where a character has a meaning."""
        text = self.text if self.occurrence is None else self.text.rpartition("#")[0]
        number = "" if self.occurrence is None else f"#{self.occurrence}"
        if '"' in text:
            return re.sub(r'[",()\[\]\\:#]', r"\\\g<0>", text) + number
        return f'"{text}"{number}' if set(text) & set(",()[]\\:#") else f"{text}{number}"


@dataclass(frozen=True)
class Place:
    """Where a term stands: its columns in one schedule entry of one AND part, and where it was typed."""

    part: int
    entry: int
    columns: tuple[int, ...]
    span: Span


class _ReadTerms(Transformer[Token, list[Term]]):
    """Turns the parsed list into terms; empty ones and repetitions are left out."""

    def start(self, terms: list[Term | None]) -> list[Term]:
        return list({(term.words, term.occurrence): term for term in terms if term is not None}.values())

    def term(self, tokens: list[Token]) -> Term | None:
        occurrence = next((self._number(token) for token in tokens if token.type == "OCCURRENCE"), None)
        text = " ".join("".join(self._letters(token) for token in tokens).split())
        words = split_words(text)
        if not words:
            return None
        if occurrence == 0:
            raise TermError(f"occurrences count from 1: expected {text}#1 or higher, got {text}#0")
        return Term(text if occurrence is None else f"{text}#{occurrence}", words, occurrence)

    @staticmethod
    def _number(token: Token) -> int:
        if len(token) > 10:  # Python refuses to read thousands of digits
            raise TermError(f"occurrence: expected at most 9 digits, got {len(token) - 1}")
        return int(token[1:])

    @staticmethod
    def _letters(token: Token) -> str:
        if token.type in ("WEIGHT", "OCCURRENCE", "BRACKET") or token == '"':
            return ""
        return {"QUOTED": token[1:-1], "ESCAPED": token[1:]}.get(token.type, str(token))


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr")


def parse_terms(text: str) -> list[Term]:
    """Reads `cute cat, (dog:1.2), "red, green", cat#2`. An empty list stands for every word.

    >>> [term.text for term in parse_terms('cute cat, (dog:1.2), "red, green", cat#2')]
    ['cute cat', 'dog', 'red, green', 'cat#2']
    >>> parse_terms("Cat#2")
    [Term(text='Cat#2', words=('cat',), occurrence=2)]

    Raises:
        TermError: the list is too long, or an occurrence is 0 or huge.
    """
    if len(text) > MAX_CHARACTERS:
        raise TermError(f"expected at most {MAX_CHARACTERS} characters of terms, got {len(text)}")
    try:
        tree = _parser().parse(text)
    except LarkError as error:
        raise TermError(f"the terms cannot be read: {error}") from error
    try:
        return _ReadTerms().transform(tree)
    except LarkError as error:
        raise getattr(error, "orig_exc", error) from None


def find_term(term: Term, table: PromptTable) -> list[Place]:
    """Every place of the term in the prompt, over all AND parts and schedule entries.

    With `occurrence`, only the places whose typed text is the n-th in the order of the prompt. Where the prompt has no
    such word, `<start>` and `<end>` are the tokens around it, in every chunk.

    >>> table = daam.parse_prompt("a (red:1.2) circle", tokenizer)
    >>> (term,) = parse_terms("red circle")
    >>> find_term(term, table)
    [Place(part=0, entry=0, columns=(2, 3), span=(3, 18))]
    """
    places = [
        Place(part, entry, columns, span)
        for (part, entry), words in table_words(table)
        for columns, span in _matches(term.words, words)
    ]
    if not places and term.text in MARKS:
        return _mark_places(term.text, table)
    if term.occurrence is None:
        return places
    starts = sorted({place.span[0] for place in places})
    if term.occurrence > len(starts):
        return []
    return [place for place in places if place.span[0] == starts[term.occurrence - 1]]


def find_span(span: Span, table: PromptTable) -> list[Place]:
    """Where what was typed at a span stands: in each text that has it, the columns of all tokens that touch it."""
    begin, end = span
    found = []
    for part_number, part in enumerate(table.parts):
        for entry_number, entry in enumerate(part.schedule):
            kept = word_columns(entry)
            touched = [
                column
                for column in entry.columns
                if column.span is not None and column.column in kept and column.span[0] < end and begin < column.span[1]
            ]
            if touched:
                spans = [column.span for column in touched if column.span is not None]
                own = (min(first for first, _ in spans), max(last for _, last in spans))
                found.append(Place(part_number, entry_number, tuple(column.column for column in touched), own))
    return found


def _mark_places(name: str, table: PromptTable) -> list[Place]:
    edge = 0 if name == "<start>" else len(table.prompt)
    return [
        Place(part_number, entry_number, mark_columns(entry, name), (edge, edge))
        for part_number, part in enumerate(table.parts)
        for entry_number, entry in enumerate(part.schedule)
    ]


def _matches(wanted: Sequence[str], entry: EntryWords) -> Iterator[tuple[tuple[int, ...], Span]]:
    """Runs of whole words that spell the wanted ones; runs do not overlap."""
    words, free = entry.words, 0
    for start in entry.by_first.get(wanted[0], ()):
        if start < free:
            continue
        end, left = start, list(wanted)
        while end < len(words) and left and words[end].parts and left[: len(words[end].parts)] == [*words[end].parts]:
            left = left[len(words[end].parts) :]
            end += 1
        if not left:
            run = words[start:end]
            yield tuple(column for word in run for column in word.columns), (run[0].span[0], run[-1].span[1])
            free = end


def columns_of_terms(terms: Sequence[Term], entry: ScheduleEntry) -> tuple[int, ...]:
    """The columns of one entry that belong to any of the terms, in order; of all words when there are no terms."""
    if not terms:
        return word_columns(entry)
    words = words_of(entry)
    columns = {column for term in terms for found, _ in _matches(term.words, words) for column in found}
    columns.update(column for term in terms if term.text in MARKS for column in mark_columns(entry, term.text))
    return tuple(sorted(columns))


def every_word(table: PromptTable) -> list[Term]:
    """A term for each different word of the prompt, in its order; punctuation alone is no word."""
    return list(derived(table, "_every_word", lambda: _every_word(table)))


def _every_word(table: PromptTable) -> tuple[Term, ...]:
    found: dict[tuple[str, ...], tuple[int, str]] = {}
    for _, words in table_words(table).texts:
        for word in words.words:
            if not word.is_sign and word.parts not in found:
                found[word.parts] = (word.span[0], word_name(word))
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    return tuple(Term(text, parts) for parts, (_, text) in ordered if parts)


def word_name(word: Word) -> str:
    """The word as it was typed, in lower case where that is read as the same word: broken Unicode may not be."""
    names = (" ".join(text.split()) for text in (word.text.lower(), word.text))
    return next((name for name in names if split_words(name) == word.parts), "".join(word.parts))
