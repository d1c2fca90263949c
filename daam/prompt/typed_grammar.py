"""The grammar of a typed prompt: what a parser says of its words, and where each was typed."""

from __future__ import annotations

from collections.abc import Iterator

from daam.prompt.grammar import Edge, Parser, Token
from daam.prompt.table import PromptTable, Span
from daam.prompt.typed_words import EntryWords, table_words


def parse_tokens(table: PromptTable, parser: Parser) -> list[Token]:
    """The words and signs of every text of a prompt by where they were typed, each place once, in that order."""
    found = {
        typed.typed(token.span): Token(typed.typed(token.span), token.kind)
        for typed in _typed_texts(table)
        for token in parser.tokens(typed.text)
    }
    return [found[span] for span in sorted(found)]


def parse_edges(table: PromptTable, parser: Parser) -> list[Edge]:
    """The relations in every text of a prompt by where their words were typed, each once, in the dependents' order."""
    found = {
        Edge(edge.relation, typed.typed(edge.head), typed.typed(edge.dependent))
        for typed in _typed_texts(table)
        for edge in parser.edges(typed.text)
    }
    return sorted(found, key=lambda edge: (edge.dependent, edge.head, edge.relation))


class _TypedText:
    """A text as it is read, without weights and brackets, whose characters know where they were typed."""

    def __init__(self, words: EntryWords):
        self.text = ""
        self._pieces: list[tuple[int, int, Span, bool]] = []
        end = None
        for word in words.words:
            if end is not None and word.span[0] > end:
                self.text += " "
            begin = len(self.text)
            self.text += word.text
            is_plain = word.span[1] - word.span[0] == len(word.text)
            self._pieces.append((begin, len(self.text), word.span, is_plain))
            end = word.span[1]

    def typed(self, span: Span) -> Span:
        """Where characters [begin, end) of the text were typed; a word that syntax goes through is taken whole."""
        found = [
            (place[0] + max(0, span[0] - begin), place[1] - max(0, end - span[1])) if is_plain else place
            for begin, end, place, is_plain in self._pieces
            if begin < span[1] and span[0] < end
        ]
        return min(first for first, _ in found), max(last for _, last in found)


def _typed_texts(table: PromptTable) -> Iterator[_TypedText]:
    for _, words in table_words(table).texts:
        if words.words:
            yield _TypedText(words)
