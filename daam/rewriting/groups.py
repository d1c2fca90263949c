"""Finds which words of a prompt can be handled together, within one pair of brackets. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from daam.errors import PromptError, SettingError
from daam.prompt.table import Span
from daam.rewriting.elements import Barrier, Elements, Node, Option, leaves
from daam.rewriting.scanning import Leaf


@dataclass(frozen=True)
class Group:
    """Neighbours in one container: letters, blanks between them, and whole brackets.

    Attributes:
        elements: what belongs together; letters or nodes at both ends.
        container: the brackets or the branch that it stands in.
        outer: product of all brackets around it.
    """

    elements: Sequence[Leaf | Node]
    container: Option
    outer: float

    @property
    def start(self) -> int:
        return self.elements[0].start

    @property
    def end(self) -> int:
        return self.elements[-1].end


def letters_in(elements: Elements, spans: Sequence[Span], known: Mapping[int, Leaf] | None = None) -> dict[int, Leaf]:
    """The letters typed within any of the spans, by their place; blanks and BREAK are none.

    Args:
        known: all letters of the prompt by their place, where they have been looked up before.

    Raises:
        SettingError: a span is not within the prompt.
        PromptError: a span has no word, or begins or ends in an extra-network tag.
    """
    found: dict[int, Leaf] = {}
    if known is None:
        known = {leaf.position: leaf for part in elements.parts for leaf in leaves(part.root)}
    for start, end in spans:
        if not 0 <= start < end <= len(elements.prompt):
            raise SettingError(f"span: expected 0 <= start < end <= {len(elements.prompt)}, got {start}, {end}")
        for tag in elements.tags:
            if any(tag.span[0] <= place < tag.span[1] for place in (start, end - 1)):
                raise PromptError(f"{tag.text!r} is an extra-network tag: its weight is the number within it")
        letters = [known[place] for place in range(start, end) if place in known]
        words = {leaf.position: leaf for leaf in letters if not leaf.is_blank and not leaf.is_break}
        if not words:
            raise PromptError(f"expected a word of the prompt, got {elements.prompt[start:end]!r}")
        found |= words
    return found


def weights_of(elements: Elements) -> dict[int, float]:
    """The weight of every letter, by its place."""
    found: dict[int, float] = {}
    waiting = [(part.root, 1.0) for part in elements.parts]
    while waiting:
        option, outer = waiting.pop()
        for element in option.elements:
            if isinstance(element, Leaf):
                found[element.position] = outer * element.flat
            elif isinstance(element, Node):
                waiting += [(inner, outer * element.factor) for inner in element.options]
    return found


def find_groups(elements: Elements, targets: Mapping[int, float]) -> list[Group]:
    """The largest groups of letters that shall have one weight, in order.

    A schedule that stands alone is no group: its branches are.
    """
    return [group for part in elements.parts for group in Grouping(targets, with_commas=False).find(part.root, 1.0)]


def find_removed_groups(elements: Elements, letters: Mapping[int, Leaf]) -> list[Group]:
    """The largest groups of letters that shall go, in order; brackets and schedules that are left empty go too."""
    tags = [tag.span[0] for tag in elements.tags]
    grouping = Grouping(dict.fromkeys(letters, 0.0), with_commas=True, fixed=tags)
    return [group for part in elements.parts for group in grouping.find(part.root, 1.0)]


class Grouping:
    """The rules for one search of groups.

    Args:
        with_commas: whole brackets are taken too where nothing but commas is left in them, and schedules.
        fixed: places that no taken bracket may enclose.
    """

    def __init__(self, targets: Mapping[int, float], *, with_commas: bool, fixed: Sequence[int] = ()) -> None:
        self._targets = targets
        self._with_commas = with_commas
        self._fixed = fixed

    def find(self, option: Option, outer: float) -> Iterator[Group]:
        open_group: list[Leaf | Node] = []
        target: float | None = None
        for element in option.elements:
            if isinstance(element, Leaf) and element.is_blank:
                if open_group:
                    open_group.append(element)
                continue
            wanted = self._target(element)
            if wanted is None or wanted != target:
                yield from self._close(open_group, option, outer)
                open_group = []
            target = wanted
            if wanted is not None and not isinstance(element, Barrier):
                open_group.append(element)
            elif isinstance(element, Node):
                for inner in element.options:
                    yield from self.find(inner, outer * element.factor)
        yield from self._close(open_group, option, outer)

    def _target(self, element: Leaf | Node | Barrier) -> float | None:
        """The one weight that all of an element shall have, or None."""
        if isinstance(element, Barrier):
            return None
        if isinstance(element, Leaf):
            return self._targets.get(element.position)
        if any(element.start < place < element.end for place in self._fixed) or _has_barrier(element):
            return None
        letters = [leaf for leaf in leaves(element) if not leaf.is_blank]
        wanted = {self._targets.get(leaf.position) for leaf in letters if not self._is_left(leaf)}
        return wanted.pop() if len(wanted) == 1 else None

    def _is_left(self, leaf: Leaf) -> bool:
        return self._with_commas and leaf.text == "," and leaf.position not in self._targets

    def _close(self, elements: list[Leaf | Node], container: Option, outer: float) -> Iterator[Group]:
        while elements and isinstance(elements[-1], Leaf) and elements[-1].is_blank:
            elements.pop()
        if not elements:
            return
        (first, *others) = elements
        if not others and isinstance(first, Node) and first.is_schedule and not self._with_commas:
            for option in first.options:
                yield from self.find(option, outer)
            return
        yield Group(tuple(elements), container, outer * next(leaf.flat for leaf in leaves(first)))


def _has_barrier(node: Node) -> bool:
    return any(
        isinstance(element, Barrier) or (isinstance(element, Node) and _has_barrier(element))
        for option in node.options
        for element in option.elements
    )
