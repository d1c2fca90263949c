"""Takes words out of a typed prompt, with the commas, blanks and brackets that have no use left. Knows no tokenizer.

What is written is read again and compared: nothing else has changed, or nothing is written at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from daam.errors import PromptError
from daam.prompt.table import Span
from daam.rewriting.checking import check_removal
from daam.rewriting.elements import Elements, leaves, read_elements
from daam.rewriting.groups import Group, find_removed_groups, letters_in
from daam.rewriting.rewritten import Edit, Rewritten, apply_edits
from daam.rewriting.scanning import Leaf


def remove(prompt: str, span: Span, *, negative: bool = False) -> Rewritten:
    """The prompt without the word or phrase at `span`, and the empty span where it stood.

    Brackets and schedules with nothing left in them go too.

    >>> remove("a cat, (a red circle:1.2), grass", (8, 20))
    Rewritten(prompt='a cat, grass', span=(7, 7))

    Args:
        span: [start, end) of whole words, as the token table has it.
        negative: the host does not look for AND in a negative prompt.

    Raises:
        PromptError: there is no word, or it cannot go without changing more.
        SettingError: the span is not within the prompt.
    """
    return remove_all(prompt, [span], negative=negative)


def remove_all(prompt: str, spans: Sequence[Span], *, negative: bool = False) -> Rewritten:
    """`remove` for several places at once; the span that comes back is where the first of them stood."""
    elements = read_elements(prompt, negative=negative)
    groups = find_removed_groups(elements, letters_in(elements, spans))
    place = 0
    for group in reversed(groups):  # from the end, so that what is still to do keeps its place
        letters = {leaf.position for element in group.elements for leaf in leaves(element) if not leaf.is_blank}
        prompt, place = _remove_group(elements, group, letters, negative)
        elements = read_elements(prompt, negative=negative)
    return Rewritten(prompt, (place, place))


def _remove_group(elements: Elements, group: Group, letters: set[int], negative: bool) -> tuple[str, int]:
    reason = ""
    for edit in _ways(elements.prompt, group):
        prompt, places = apply_edits(elements.prompt, [edit])
        try:
            check_removal(elements, read_elements(prompt, negative=negative), places, letters)
        except PromptError as error:
            reason = reason or str(error)
            continue
        return prompt, edit.start
    words = elements.prompt[group.start : group.end]
    raise PromptError(cannot_go(words, reason))


def cannot_go(words: str, reason: str) -> str:
    """What people are told."""
    return f"{words!r} cannot be removed on its own: {reason}. Edit the prompt by hand"


def _ways(prompt: str, group: Group) -> Iterator[Edit]:
    """Ways to take a group out, the tidiest first."""
    yield _tidy(prompt, group)
    yield Edit(group.start, group.end)
    yield Edit(group.start, group.end, " ")


def _tidy(prompt: str, group: Group) -> Edit:
    """The group with a comma and blanks beside it, so that one of each is left between its neighbours."""
    start, end = _room(group)
    left, right = _blanks_before(prompt, group.start, start), _blanks_after(prompt, group.end, end)
    after_comma, before_comma = left > start and prompt[left - 1] == ",", right < end and prompt[right] == ","
    if before_comma and (after_comma or left == start):
        return _with_comma(prompt, group, left, right, end)
    if before_comma:
        return Edit(left, group.end)
    if right == end:
        return Edit(_blanks_before(prompt, left - 1, start) if after_comma else left, group.end)
    if left == start:
        return Edit(group.start, right)
    if left < group.start and right > group.end:
        return Edit(left, group.end) if "\n" in prompt[group.end : right] else Edit(group.start, right)
    return Edit(group.start, group.end)


def _with_comma(prompt: str, group: Group, left: int, comma: int, end: int) -> Edit:
    """The group and the comma after it; a line end after the comma stays."""
    after = _blanks_after(prompt, comma + 1, end)
    if "\n" in prompt[comma:after] and left < group.start:
        return Edit(left, comma + 1)
    return Edit(group.start, after)


def _blanks_before(prompt: str, place: int, start: int) -> int:
    while place > start and prompt[place - 1].isspace():
        place -= 1
    return place


def _blanks_after(prompt: str, place: int, end: int) -> int:
    while place < end and prompt[place].isspace():
        place += 1
    return place


def _room(group: Group) -> Span:
    """How far the tidying may reach: to the ends of the brackets or branch, or to a BREAK or lone bracket in it."""
    start, end = group.container.start, group.container.end
    borders = group.container.borders
    following = bisect_left(borders, group.start, key=lambda border: border.start)
    if following:
        before = borders[following - 1]
        start = before.end if isinstance(before, Leaf) else before.start + 1
    return start, min(end, borders[following].start) if following < len(borders) else end
