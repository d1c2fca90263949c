"""Gives words of a typed prompt another weight by rewriting the brackets around them. Knows no tokenizer.

What is written is read again and compared: only the words aimed at have changed, or nothing is written at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from daam.errors import PromptError
from daam.prompt.table import Span
from daam.rewriting.checking import check_weights
from daam.rewriting.elements import Elements, leaves, nodes, read_elements
from daam.rewriting.groups import Group, find_groups, letters_in, weights_of
from daam.rewriting.numbers import checked_weight, number_for, rounded
from daam.rewriting.rewritten import Edit, Rewritten, apply_edits, moved_span
from daam.rewriting.scanning import Leaf

_SAME = 1e-9


def set_weight(prompt: str, span: Span, weight: float, *, negative: bool = False) -> Rewritten:
    """The prompt in which the word or phrase at `span` has this weight, all brackets around it counted.

    Brackets that hold nothing else are rewritten, or go where they are no longer needed; within other brackets the
    words get brackets of their own, whose number makes up for those around them.

    >>> set_weight("a red circle", (2, 5), 1.2)
    Rewritten(prompt='a (red:1.2) circle', span=(3, 6))
    >>> set_weight("a (red:1.2) circle", (3, 6), 1)
    Rewritten(prompt='a red circle', span=(2, 5))

    Args:
        prompt: as typed, in the WebUI's syntax.
        span: [start, end) of whole words, as the token table has it.
        weight: any number from -1000 to 1000; it is met within 0.005.
        negative: the host does not look for AND in a negative prompt.

    Returns:
        The new prompt, and where the words now stand in it.

    Raises:
        PromptError: there is no word, or its weight cannot be changed without changing more.
        SettingError: the weight or the span does not fit.
    """
    return set_weights(prompt, [span], weight, negative=negative)


def set_weights(prompt: str, spans: Sequence[Span], weight: float, *, negative: bool = False) -> Rewritten:
    """`set_weight` for several places at once; the span that comes back reaches over all of them."""
    wanted = checked_weight(weight)
    elements = read_elements(prompt, negative=negative)
    return _rewrite(elements, dict.fromkeys(letters_in(elements, spans), wanted), negative)


def change_weight(prompt: str, span: Span, by: float = 0.1, *, negative: bool = False) -> Rewritten:
    """As `set_weight`, but by so much more or less than now; each word of a phrase starts from its own weight.

    Weights land on hundredths, so a step back gives the prompt from before where it had no weight of its own.
    A comma between words of different weights keeps its own.

    >>> change_weight("a red circle", (2, 5))
    Rewritten(prompt='a (red:1.1) circle', span=(3, 6))
    >>> change_weight("a (red:1.1) circle", (3, 6), -0.1)
    Rewritten(prompt='a red circle', span=(2, 5))
    """
    step = checked_weight(by, "step")
    elements = read_elements(prompt, negative=negative)
    weights = weights_of(elements)
    letters = _without_lone_signs(letters_in(elements, [span]), weights)
    targets = {place: rounded(weights[place] + step) for place in letters}
    for target in targets.values():
        checked_weight(target)
    return _rewrite(elements, targets, negative)


def _without_lone_signs(letters: Mapping[int, Leaf], weights: Mapping[int, float]) -> list[int]:
    """The places of the letters, less those of signs that stand between other weights; all where there is but one."""
    runs = [list(run) for _, run in groupby(sorted(letters), key=lambda place: weights[place])]
    named = [run for run in runs if any(_is_named(letters[place].text) for place in run)]
    return [place for run in named or runs for place in run]


def _is_named(letter: str) -> bool:
    """A letter, a digit, or a picture such as an emoji."""
    return letter[-1].isalnum() or ord(letter[-1]) >= 0x2000


def _rewrite(elements: Elements, targets: Mapping[int, float], negative: bool) -> Rewritten:
    weights = weights_of(elements)
    if all(abs(weights[place] - target) < _SAME for place, target in targets.items()):
        places: list[int | None] = list(range(len(elements.prompt)))
        return Rewritten(elements.prompt, moved_span(sorted(targets), places))
    groups = find_groups(elements, targets)
    reason = ""
    for keeps_ones in (False, True):
        edits = [edit for group in groups for edit in _edits(group, targets, keeps_ones)]
        prompt, places = apply_edits(elements.prompt, edits)
        try:
            check_weights(elements, read_elements(prompt, negative=negative), places, targets)
        except PromptError as error:
            reason = reason or str(error)
            continue
        return Rewritten(prompt, moved_span(sorted(targets), places))
    words = elements.prompt[min(targets) : max(targets) + 1]
    raise PromptError(cannot_change(words, reason))


def cannot_change(words: str, reason: str) -> str:
    """What people are told."""
    return f"the weight of {words!r} cannot be changed on its own: {reason}. Put blanks or brackets around the word"


def _edits(group: Group, targets: Mapping[int, float], keeps_ones: bool) -> Iterator[Edit]:
    """Takes all emphasis out of the group and puts one pair of brackets around it, if it needs one.

    Args:
        keeps_ones: write (word:1) rather than the bare word, which may run into its neighbours.
    """
    pairs = [node for element in group.elements for node in nodes(element) if not node.is_schedule]
    target = next(targets[leaf.position] for element in group.elements for leaf in leaves(element) if not leaf.is_blank)
    number = number_for(target, group.outer)
    is_needed = number != "1" or (keeps_ones and bool(pairs))
    if is_needed:
        yield Edit(group.start, group.start, "(")
    for pair in pairs:
        yield Edit(pair.start, pair.start + 1)
        yield Edit(pair.options[0].end, pair.end)
    if is_needed:
        yield Edit(group.end, group.end, f":{number})")
