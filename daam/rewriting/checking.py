"""Compares how a prompt is read before and after a change, word by word. Knows no tokenizer: words, not tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lark import Token, Tree

from daam.errors import PromptError
from daam.prompt.emphasis import read_emphasis
from daam.prompt.limits import MAX_SCHEDULE_WORK, check_limit
from daam.prompt.source_text import SourceText
from daam.prompt.tokenizer import _WORD
from daam.rewriting.elements import Elements, Node, Option, Part

_NEAR_ENOUGH = 0.005
_UNCHANGED = 1e-6
_TOUCHING = re.compile(r"\][^\s\[\]]*\[")


class ReadWord(NamedTuple):
    """A word of one reading: where its letters were typed, and its weight; a BREAK that starts a chunk has None."""

    letters: tuple[int, ...]
    text: str
    weight: float | None


@dataclass(frozen=True)
class Choices:
    """Which branch of each schedule is read, by the place of its bracket; the others take their first or last."""

    branches: Mapping[int, int]
    others: int


def check_weights(old: Elements, new: Elements, places: list[int | None], targets: Mapping[int, float]) -> None:
    """Every word that was aimed at has its weight; all others, and their order, are as before.

    Args:
        places: the new index of every old character, None where it is gone.
        targets: the weight that each letter aimed at shall have.

    Raises:
        PromptError: it is not so.
    """
    if any(places[start] is None for part in old.parts for start, *_ in part.schedules):
        raise PromptError("a schedule would go")
    for before, after in _readings(old, new, places):
        if len(before) != len(after):
            raise PromptError("words would be joined or cut")
        for word, other in zip(before, after):
            if tuple(map(places.__getitem__, word.letters)) != other.letters:
                raise PromptError(f"{word.text!r} would be joined or cut")
            if not _has_weight(word, other, set(map(targets.get, word.letters))):
                raise PromptError(f"{word.text!r} would get a weight that was not asked for")


def _has_weight(word: ReadWord, other: ReadWord, wanted: set[float | None]) -> bool:
    if word.weight is None or other.weight is None:
        return word.weight is other.weight
    if len(wanted) != 1:
        return False
    (target,) = wanted
    if target is None:
        return abs(other.weight - word.weight) <= _UNCHANGED * max(1.0, abs(word.weight))
    return abs(other.weight - target) < _NEAR_ENOUGH


def check_removal(old: Elements, new: Elements, places: list[int | None], removed: set[int]) -> None:
    """The removed letters are gone, with commas at most; all other words, weights and their order are as before.

    Raises:
        PromptError: it is not so.
    """
    for before, after in _readings(old, new, places):
        waiting = iter(after)
        following = next(waiting, None)
        for word in before:
            if not removed.isdisjoint(word.letters):
                if not removed.issuperset(word.letters):
                    raise PromptError(f"{word.text!r} would be cut")
                continue
            moved = tuple(map(places.__getitem__, word.letters))
            if following is not None and moved == following.letters and _has_weight(word, following, {None}):
                following = next(waiting, None)
            elif word.text != ",":
                raise PromptError(f"{word.text!r} would be changed")
        if following is not None:
            raise PromptError(f"{following.text!r} would come in")


def _readings(
    old: Elements, new: Elements, places: list[int | None]
) -> Iterator[tuple[list[ReadWord], list[ReadWord]]]:
    """The words before and after, for readings in which every branch of every schedule is read once."""
    _check_frame(old, new, places)
    for number, choices, before in readings_of(old):
        moved = {places[start]: branch for start, branch in choices.branches.items()}
        kept = {start: branch for start, branch in moved.items() if start is not None}
        yield before, _words(new.parts[number], Choices(kept, choices.others))


def readings_of(elements: Elements) -> list[tuple[int, Choices, list[ReadWord]]]:
    """The number of a part, what is chosen in its schedules, and its words; kept, as edits are tried several ways."""
    if elements.readings is None:
        found = []
        for number, part in enumerate(elements.parts):
            readings = _all_choices(part)
            check_limit(len(readings) * len(part.text), MAX_SCHEDULE_WORK, "letters to compare over its schedules")
            found += [(number, choices, _words(part, choices)) for choices in readings]
        elements.readings = found
    return elements.readings


def letters_to_read(elements: Elements) -> int:
    """How many letters are read to check one edit."""
    return len(elements.prompt) + sum(len(elements.parts[number].text) for number, *_ in readings_of(elements))


def _check_frame(old: Elements, new: Elements, places: list[int | None]) -> None:
    """Parts, tags and schedules are the same; a schedule may be gone with its bracket."""
    if [part.weight for part in old.parts] != [part.weight for part in new.parts]:
        raise PromptError("the parts that AND joins would change")
    if [tag.text for tag in old.tags] != [tag.text for tag in new.tags]:
        raise PromptError("an extra-network tag would change")
    for part, new_part in zip(old.parts, new.parts):
        moved = [(places[start], when, branches) for start, when, branches in part.schedules]
        if [schedule for schedule in moved if schedule[0] is not None] != new_part.schedules:
            raise PromptError("a schedule would change")


def _all_choices(part: Part) -> list[Choices]:
    """Choices in which every branch is read; where schedules touch, each branch beside others' first and last.

    Otherwise a branch meets the same words whatever is chosen elsewhere.
    """
    sizes = {start: branches for start, _, branches in part.schedules}
    is_close = _TOUCHING.search(part.text.text) is not None
    found: dict[tuple[int, ...], Choices] = {}
    seen: set[tuple[int, int]] = set()
    for path in [{}, *_paths(part.root, {})]:
        if path and not is_close and list(path.items())[-1] in seen:
            continue
        for others in (0, -1) if is_close or not path else (0,):
            chosen = tuple(path.get(start, others % branches) for start, branches in sizes.items())
            if chosen not in found:
                found[chosen] = Choices(path, others)
                if not is_close:
                    seen.update(_seen(part.root, found[chosen]))
    return list(found.values())


def _seen(option: Option, choices: Choices) -> Iterator[tuple[int, int]]:
    """The schedules that are met when it is read so, by place, and the branch of each."""
    for element in option.elements:
        if isinstance(element, Node) and element.is_schedule:
            number = choices.branches.get(element.start, choices.others % len(element.options))
            yield element.start, number
            yield from _seen(element.options[number], choices)
        elif isinstance(element, Node):
            for inner in element.options:
                yield from _seen(inner, choices)


def _paths(option: Option, path: Mapping[int, int]) -> Iterator[dict[int, int]]:
    """For each branch of each schedule the choices that lead to it."""
    for element in option.elements:
        if isinstance(element, Node):
            for number, branch in enumerate(element.options):
                inner = {**path, element.start: number} if element.is_schedule else dict(path)
                if element.is_schedule:
                    yield inner
                yield from _paths(branch, inner)


def _words(part: Part, choices: Choices) -> list[ReadWord]:
    words = []
    for run in read_emphasis(_text(part, choices)):
        text, origin, weight = run.text.text, run.text.origin, run.weight
        if run.is_break:
            words.append(ReadWord(tuple(origin), text, None))
            continue
        for match in _WORD.finditer(text):
            start, end = match.span()
            words.append(ReadWord(tuple(origin[start:end]), match.group(), weight))
    return words


def _text(part: Part, choices: Choices) -> SourceText:
    """The part's text with the chosen branches. A stack in place of recursion, since brackets may nest deeply."""
    if part.tree is None:
        return part.text
    pieces: list[SourceText] = []
    waiting: list[Tree[Token] | Token | None] = [part.tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Token):
            start = node.start_pos or 0
            pieces.append(part.text.slice(start, start + len(node)))
        elif node is not None and node.data in ("edit", "alternate"):
            waiting.append(_chosen(node, part.text, choices))
        elif node is not None:
            waiting.extend(reversed(node.children))
    return SourceText.join(pieces)


def _chosen(node: Tree[Token], text: SourceText, choices: Choices) -> Tree[Token] | None:
    bracket = node.children[0]
    assert isinstance(bracket, Token)
    branches: list[Tree[Token] | None] = [child for child in node.children if isinstance(child, Tree)]
    if len(branches) == 1:  # [a:10] begins with no text
        branches.insert(0, None)
    return branches[choices.branches.get(text.origin[bracket.start_pos or 0], choices.others)]
