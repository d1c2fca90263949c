"""The heat maps of one picture by the grammar of its prompt: each word's part of speech, each relation's two maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daam.errors import TermError
from daam.maps.heat_maps import HeatMap, HeatMaps
from daam.prompt.table import PromptTable
from daam.prompt.typed_words import EntryWords, table_words
from daam.studies.language.parsing import Parser, Span, load_parser


@dataclass(frozen=True)
class ParsedHeatMap:
    """A word or sign with its heat map.

    Attributes:
        text: as typed.
        kind: its part of speech, as spaCy names it: NOUN, ADJ, PUNCT.
    """

    text: str
    kind: str
    heat_map: HeatMap


@dataclass(frozen=True)
class Relation:
    """A relation of two words with their heat maps.

    Attributes:
        relation: the paper's name: amod, nsubj, obj, nmod:of.
        head, dependent: the maps, whose `places` tell where the words stand.
    """

    relation: str
    head_text: str
    dependent_text: str
    head: HeatMap
    dependent: HeatMap


@dataclass(frozen=True)
class ParsedToken:
    """A word or sign, and where it was typed."""

    span: Span
    kind: str


@dataclass(frozen=True)
class ParsedEdge:
    """A relation, and where its words were typed."""

    relation: str
    head: Span
    dependent: Span


def parsed_heat_maps(heat_maps: HeatMaps, parser: str | None = None) -> list[ParsedHeatMap]:
    """The words and signs of a picture's prompt with their parts of speech, in its order, each place by itself.

    >>> [(word.text, word.kind) for word in daam.parsed_heat_maps(heat_maps)][:3]
    [('a', 'DET'), ('red', 'ADJ'), ('circle', 'NOUN')]

    Args:
        parser: a spaCy model's name or folder; None is the one of the extra `syntax`.

    Raises:
        SettingError: spaCy or the model is not installed; the text has the command.
    """
    loaded = load_parser(parser, "daam.parsed_heat_maps")
    prompt, found = heat_maps.table.prompt, []
    for token in parse_tokens(heat_maps.table, loaded):
        heat_map = _map_at(heat_maps, token.span)
        if heat_map is not None:
            found.append(ParsedHeatMap(prompt[slice(*token.span)], token.kind, heat_map))
    return found


def dependency_relations(heat_maps: HeatMaps, parser: str | None = None) -> list[Relation]:
    """The relations between the words of a picture's prompt, with the maps of both.

    >>> [(each.relation, each.head_text, each.dependent_text) for each in daam.dependency_relations(heat_maps)][1:3]
    [('amod', 'circle', 'red'), ('cc', 'circle', 'and')]

    Args:
        parser: as for `parsed_heat_maps`.

    Raises:
        SettingError: spaCy or the model is not installed; the text has the command.
    """
    loaded = load_parser(parser, "daam.dependency_relations")
    prompt, found = heat_maps.table.prompt, []
    for edge in parse_edges(heat_maps.table, loaded):
        head, dependent = _map_at(heat_maps, edge.head), _map_at(heat_maps, edge.dependent)
        if head is not None and dependent is not None:
            texts = prompt[slice(*edge.head)], prompt[slice(*edge.dependent)]
            found.append(Relation(edge.relation, *texts, head, dependent))
    return found


def parse_tokens(table: PromptTable, parser: Parser) -> list[ParsedToken]:
    """The words and signs of every text of a prompt, each place once, in the order in which they were typed."""
    found = {
        typed.typed(token.span): ParsedToken(typed.typed(token.span), token.kind)
        for typed in _typed_texts(table)
        for token in parser.tokens(typed.text)
    }
    return [found[span] for span in sorted(found)]


def parse_edges(table: PromptTable, parser: Parser) -> list[ParsedEdge]:
    """The relations in every text of a prompt, each once, in the order of the dependents."""
    found = {
        ParsedEdge(edge.relation, typed.typed(edge.head), typed.typed(edge.dependent))
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


def _map_at(heat_maps: HeatMaps, span: Span) -> HeatMap | None:
    try:
        return heat_maps.at(span)
    except TermError:  # a text that was never active
        return None
