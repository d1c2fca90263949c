"""The letters of a typed prompt and the brackets around them, as a tree. Knows no tokens and no steps.

All branches of a schedule stand in the tree at once: brackets inside a branch are always balanced, so the weight of
a letter does not depend on the branches that are active elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lark import Token, Tree

from daam.errors import PromptError
from daam.prompt.and_parts import split_parts
from daam.prompt.limits import MAX_CHARACTERS, MAX_EMPHASIS_WORK, check_limit
from daam.prompt.schedule_syntax import read_syntax
from daam.prompt.source_text import SourceText
from daam.prompt.table import ExtraNetworkTag
from daam.prompt.tags import take_out_tags
from daam.rewriting.scanning import Leaf, Scan

MAX_DEPTH = 100


@dataclass
class Option:
    """What stands in brackets, or in one branch of a schedule: [start, end) of the typed prompt."""

    start: int
    end: int
    elements: list[Leaf | Node | Barrier] = field(default_factory=list)

    @cached_property
    def borders(self) -> list[Leaf | Barrier]:
        """Each BREAK and lone bracket among its elements; read it once they are all there."""
        return [
            each for each in self.elements if isinstance(each, Barrier) or (isinstance(each, Leaf) and each.is_break)
        ]


@dataclass
class Barrier:
    """A bracket without a partner, or one that crosses others: nothing may be put around it."""

    start: int


@dataclass
class Node:
    """A pair of emphasis brackets, or a schedule with its branches.

    Attributes:
        start, end: where it was typed, brackets included.
        factor: the weight of emphasis brackets; 1 for a schedule.
        when: the number of an edit as typed, "|" for an alternation, None for emphasis.
    """

    start: int
    end: int
    factor: float
    when: str | None
    options: list[Option]

    @property
    def is_schedule(self) -> bool:
        return self.when is not None


@dataclass
class Part:
    """One AND part: its text as the schedule reads it, that reading, and its weight."""

    text: SourceText
    weight: float
    tree: Tree[Token] | None

    @cached_property
    def root(self) -> Option:
        """Its elements.

        Raises:
            PromptError: its brackets are nested too deep, or are written with a schedule.
        """
        syntax = {index for schedule in self._schedules for index in schedule.syntax}
        shown = [index for index in range(len(self.text)) if index not in syntax]
        letters, origin = self.text.text, self.text.origin
        scan = Scan(SourceText("".join(letters[index] for index in shown), [origin[index] for index in shown]))
        start, end = self.text.span(0, len(self.text)) if len(self.text) else (0, 0)
        return _build(Option(start, end), scan, self._schedules)

    @cached_property
    def schedules(self) -> list[tuple[int, str | None, int]]:
        """Of each schedule where it begins, its number as typed and how many branches it has; in order."""
        nodes_of_schedules = sorted((each.node for each in self._schedules), key=lambda node: node.start)
        return [(node.start, node.when, len(node.options)) for node in nodes_of_schedules]

    @cached_property
    def _schedules(self) -> list[_Schedule]:
        trees = [] if self.tree is None else self.tree.iter_subtrees()
        return [_Schedule.read(node, self.text) for node in trees if node.data in ("edit", "alternate")]


@dataclass
class Elements:
    """A prompt, its parts and the tags that were taken out; `readings` is for those who read its words."""

    prompt: str
    parts: list[Part]
    tags: tuple[ExtraNetworkTag, ...]
    readings: list[Any] | None = None


def read_elements(prompt: str, *, negative: bool = False, with_brackets: bool = True) -> Elements:
    """Reads a typed prompt.

    Args:
        negative: the host does not look for AND in a negative prompt.
        with_brackets: False leaves `Part.root` until it is asked for, and its errors with it.

    Raises:
        PromptError: it cannot be read, is too long or nested too deep.
    """
    check_limit(len(prompt), MAX_CHARACTERS, "characters")
    text, tags = take_out_tags(SourceText.typed(prompt))
    parts = [(text, 1.0)] if negative else split_parts(text)
    read = [Part(part, weight, read_syntax(part.text)) for part, weight in parts]
    if with_brackets:
        for part in read:
            part.root  # noqa: B018
    return Elements(prompt, read, tags)


def leaves(element: Leaf | Node | Barrier | Option) -> Iterator[Leaf]:
    """Every leaf below, in order."""
    if isinstance(element, Leaf):
        yield element
    elif isinstance(element, Node):
        for option in element.options:
            yield from leaves(option)
    elif isinstance(element, Option):
        for child in element.elements:
            yield from leaves(child)


def nodes(element: Leaf | Node | Barrier | Option) -> Iterator[Node]:
    """Every node below, itself included, outer ones first."""
    if isinstance(element, Node):
        yield element
        for option in element.options:
            yield from nodes(option)
    elif isinstance(element, Option):
        for child in element.elements:
            if isinstance(child, Node):
                yield from nodes(child)


@dataclass
class _Schedule:
    """A schedule in the making. `separators` are typed places; `syntax` counts in the part's text."""

    node: Node
    separators: list[int]
    syntax: list[int]

    @classmethod
    def read(cls, tree: Tree[Token], text: SourceText) -> _Schedule:
        tokens = [child for child in tree.children if isinstance(child, Token)]
        syntax = [(token.start_pos or 0) + index for token in tokens for index in range(len(token))]
        borders = [text.origin[token.start_pos or 0] for token in tokens if token.type != "WHEN"]
        if tree.data == "edit":
            when = next(str(token) for token in tokens if token.type == "WHEN")
            separators, last = borders[1:-2], borders[-2]
        else:
            when = "|"
            separators, last = borders[1:-1], borders[-1]
        edges = [borders[0], *separators, last]
        options = [Option(left + 1, right) for left, right in zip(edges, edges[1:])]
        if len(options) == 1:  # [a:10] begins with no text
            options.insert(0, Option(borders[0] + 1, borders[0] + 1))
            separators = [borders[0]]
        return cls(Node(borders[0], borders[-1] + 1, 1.0, when, options), separators, syntax)


def _build(root: Option, scan: Scan, schedules: list[_Schedule]) -> Option:
    """Puts leaves, brackets and schedules into the tree; brackets that do not nest become barriers."""
    barriers = scan.crossing()
    work = 0
    events: list[tuple[int, str, Leaf | Node | Barrier]] = [(leaf.start, "add", leaf) for leaf in scan.leaves]
    for pair in scan.pairs:
        if id(pair) in barriers or pair.close is None:
            end_leaf = len(scan.leaves) if pair.close is None else pair.end_leaf
            work += end_leaf - pair.first_leaf
            check_limit(work, MAX_EMPHASIS_WORK, "weights to multiply for its brackets")
            for leaf in scan.leaves[pair.first_leaf : end_leaf]:
                leaf.flat *= pair.factor
            ends = [pair.start] if pair.close is None else [pair.start, pair.close]
            events += [(place, "add", Barrier(place)) for place in ends]
        else:
            node = Node(pair.start, pair.end, pair.factor, None, [Option(pair.start + 1, pair.close)])
            events += [(pair.start, "open", node), (pair.close, "close", node)]
    for schedule in schedules:
        events.append((schedule.node.start, "open", schedule.node))
        events += [(place, "next", schedule.node) for place in schedule.separators]
        events.append((schedule.node.end - 1, "close", schedule.node))
    _nest(root, sorted(events, key=lambda event: event[0]))
    return root


def _nest(root: Option, events: list[tuple[int, str, Leaf | Node | Barrier]]) -> None:
    options = [root]
    waiting: list[tuple[Node, Iterator[Option]]] = []
    for _, action, element in events:
        if action == "add" or isinstance(element, Leaf | Barrier):
            options[-1].elements.append(element)
        elif action == "open":
            options[-1].elements.append(element)
            waiting.append((element, iter(element.options)))
            options.append(next(waiting[-1][1]))
            if len(waiting) > MAX_DEPTH:
                raise PromptError(f"expected brackets at most {MAX_DEPTH} deep; make the prompt simpler")
        elif not waiting or waiting[-1][0] is not element:
            raise PromptError("the weight of a bracket is written with a schedule; write it as a number")
        elif action == "next":
            options[-1] = next(waiting[-1][1])
        else:
            waiting.pop()
            options.pop()
