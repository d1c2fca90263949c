"""The heat maps of one picture by the grammar of its prompt: each word's part of speech, each relation's two maps."""

from __future__ import annotations

from dataclasses import dataclass

from daam.errors import TermError
from daam.maps.heat_maps import HeatMap, HeatMaps
from daam.prompt.grammar import load_parser
from daam.prompt.table import Span
from daam.prompt.typed_grammar import parse_edges, parse_tokens


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


def _map_at(heat_maps: HeatMaps, span: Span) -> HeatMap | None:
    try:
        return heat_maps.at(span)
    except TermError:  # a text that was never active
        return None
