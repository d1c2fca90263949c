"""Where each letter of a prompt stands in the tree of its brackets, so that one word's groups are found at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from daam.rewriting.elements import Barrier, Elements, Node, Option, leaves
from daam.rewriting.groups import Group, Grouping
from daam.rewriting.scanning import Leaf


@dataclass
class Container:
    """Brackets or a branch, and what is around it.

    Attributes:
        outer: product of all brackets around what stands in it.
        node: whose content or branch it is; None for a part of the prompt.
        starts: where its elements begin.
    """

    number: int
    option: Option
    outer: float
    node: Node | None
    above: Container | None
    starts: list[int]


class ElementIndex:
    """The containers of a prompt, by the letters in them."""

    def __init__(self, elements: Elements) -> None:
        self.leaves = {leaf.position: leaf for part in elements.parts for leaf in leaves(part.root)}
        self.nodes: list[Node] = []
        self._containers: list[Container] = []
        self._numbers: dict[int, int] = {}
        self._of_letter: dict[int, Container] = {}
        self._letters: dict[int, tuple[int, ...]] = {}
        self._barred: set[int] = set()
        self._tags = [tag.span[0] for tag in elements.tags]
        for part in elements.parts:
            self._add(part.root, 1.0, None, None)

    def _add(self, option: Option, outer: float, node: Node | None, above: Container | None) -> None:
        starts = [element.start for element in option.elements]
        container = Container(len(self._containers), option, outer, node, above, starts)
        self._containers.append(container)
        self._numbers[id(option)] = container.number
        for element in option.elements:
            if isinstance(element, Leaf):
                self._of_letter[element.position] = container
            elif isinstance(element, Barrier):
                self._bar(container)
            else:
                self.nodes.append(element)
                letters = (leaf for leaf in leaves(element) if not leaf.is_blank)
                self._letters[id(element)] = tuple(sorted(leaf.position for leaf in letters))
                for inner in element.options:
                    self._add(inner, outer * element.factor, element, container)

    def _bar(self, container: Container | None) -> None:
        while container is not None and container.node is not None:
            self._barred.add(id(container.node))
            container = container.above

    def number_of(self, option: Option) -> int:
        return self._numbers[id(option)]

    def letters_of(self, node: Node) -> tuple[int, ...]:
        """The places of its letters, BREAK and signs included, blanks not."""
        return self._letters[id(node)]

    @staticmethod
    def letters_within(group: Group | None) -> set[int]:
        elements = group.elements if group else ()
        return {leaf.position for element in elements for leaf in leaves(element) if not leaf.is_blank}

    def groups(self, letters: Sequence[int], *, removal: bool) -> list[Group]:
        """As `find_groups` or `find_removed_groups` of these letters, without a look at the rest of the prompt."""
        parts: dict[int, list[int]] = {}
        for letter in letters:
            *_, root = self._chain(self._of_letter[letter])
            parts.setdefault(root.number, []).append(letter)
        return [group for part in parts.values() for group in self._groups_of_part(part, removal)]

    def _groups_of_part(self, letters: Sequence[int], removal: bool) -> list[Group]:
        container = self._common(letters)
        while container.above is not None and self._is_whole(container.node, letters, removal):
            container = container.above
        first = bisect_right(container.starts, min(letters)) - 1
        end = bisect_right(container.starts, max(letters))
        option = container.option
        part = Option(option.start, option.end, option.elements[first:end])
        grouping = Grouping(dict.fromkeys(letters, 0.0), with_commas=removal, fixed=self._tags if removal else ())
        found = grouping.find(part, container.outer)
        return [replace(group, container=option) if group.container is part else group for group in found]

    def _common(self, letters: Sequence[int]) -> Container:
        """The innermost container of all the letters."""
        found = self._of_letter[letters[0]]
        for letter in letters[1:]:
            around = set(self._around(self._of_letter[letter]))
            found = next(each for each in self._chain(found) if each.number in around)
        return found

    def _chain(self, container: Container | None) -> Iterator[Container]:
        while container is not None:
            yield container
            container = container.above

    def _around(self, container: Container) -> Iterator[int]:
        return (each.number for each in self._chain(container))

    def _is_whole(self, node: Node | None, letters: Sequence[int], removal: bool) -> bool:
        """The letters are all there is in it; when they go, commas that are left do not count."""
        if node is None or id(node) in self._barred:
            return False
        own = self._letters[id(node)]
        if removal:
            if any(node.start < tag < node.end for tag in self._tags):
                return False
            given = set(letters)
            own = tuple(place for place in own if place in given or self.leaves[place].text != ",")
        return len(own) == len(letters)
