"""Tells the viewer which words belong to which by the grammar of the prompt, where spaCy is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from daam.errors import SettingError
from daam.prompt.grammar import DEFAULT, Edge, load_parser
from daam.prompt.table import PromptTable, Span
from daam.prompt.typed_grammar import parse_edges


def add_relations(data: dict[str, Any], table: PromptTable) -> None:
    """Gives each word of the positive prompt in the viewer's data its `relations`: name, role and span of the other.

    Without spaCy, or its pinned model, nothing is added.
    """
    if find_spec("spacy") is None or find_spec(DEFAULT) is None:
        return
    try:
        edges = parse_edges(table, load_parser(None, "the viewer"))
    except SettingError:  # a model that is not the pinned one: the viewer goes without
        return
    for prompt in data["prompts"]:
        if prompt["side"] == "positive":
            _add(prompt["chips"], edges)


def _add(chips: list[dict[str, Any]], edges: list[Edge]) -> None:
    words = [chip for chip in chips if chip["kind"] == "word"]
    for chip in words:
        chip["relations"] = []
    for edge in edges:
        head, dependent = _at(words, edge.head), _at(words, edge.dependent)
        if head is None or dependent is None or head is dependent:
            continue
        head["relations"].append({"relation": edge.relation, "role": "dependent", "span": dependent["span"]})
        dependent["relations"].append({"relation": edge.relation, "role": "head", "span": head["span"]})


def _at(words: list[dict[str, Any]], span: Span) -> dict[str, Any] | None:
    return next((chip for chip in words if chip["span"][0] < span[1] and span[0] < chip["span"][1]), None)
