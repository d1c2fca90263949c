"""Writes what frames allow, reads it again, and refuses what does not read as it was asked. Knows no tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from daam.errors import PromptError
from daam.prompt.table import Span
from daam.rewriting.checking import check_removal, check_weights, letters_to_read
from daam.rewriting.edit_frame import Draft
from daam.rewriting.elements import MAX_DEPTH, Elements, read_elements
from daam.rewriting.index import ElementIndex
from daam.rewriting.numbers import LARGEST_WEIGHT, number_for, rounded
from daam.rewriting.removal import _ways, cannot_go
from daam.rewriting.rewritten import apply_edits
from daam.rewriting.weights import _edits, cannot_change

MAX_READ = 500_000
"""Letters that are read again for one prompt, before the rest of its words is refused."""
TOO_LONG = "the prompt is too long for its words to be edited one by one"
STEP = 0.1
OTHER_WEIGHTS = (0.5, 1.5, 0.7, 1.3)
_APART = 8  # letters between the edits that are written together
_SAME = 1e-6
_UNLIKE = 0.005

Write = Callable[[Sequence[Draft]], None]
Fail = Callable[[Draft, str], None]


class _TooMuchError(PromptError):
    """What may be read again for one prompt is used up."""


class FrameChecks:
    """Checks the drafts of one prompt, each by itself or, where nothing can come of it, several in one reading.

    Args:
        words: a draft for each word, by its number.
        glued: pairs of words without a blank between them, and whether they would join at one weight.
        weights: of each letter, by its place.
    """

    def __init__(
        self,
        elements: Elements,
        negative: bool,
        index: ElementIndex,
        words: Sequence[Draft],
        glued: Sequence[tuple[int, int, bool]],
        weights: Mapping[int, float],
    ) -> None:
        self._elements = elements
        self._prompt = elements.prompt
        self._negative = negative
        self._index = index
        self._weights = weights
        self._may_be_deep = sum(map(elements.prompt.count, "([")) + 1 >= MAX_DEPTH
        self._read_letters = 0
        self._beside_branches: set[int] = set()
        self._neighbours: dict[int, set[float]] = {}
        for one, other, joins in glued:
            if set(self._prompt[words[one].span[1] : words[other].span[0]]) & set("[|]"):
                self._beside_branches |= {one, other}
            if joins:
                self._neighbours.setdefault(one, set()).update(weights[letter] for letter in words[other].letters)
                self._neighbours.setdefault(other, set()).update(weights[letter] for letter in words[one].letters)

    def check_weights(self, drafts: list[Draft]) -> None:
        """A little more, and the weight at which the draft needs no brackets of its own; what reads for one number
        reads for any."""
        targets = {id(each): self._unlike(each, STEP) for each in drafts}
        numbers = {id(each): (targets[id(each)], self._unlike(each, -STEP)) for each in drafts}
        drafts = [each for each in drafts if all(_has_number(each, target) for target in numbers[id(each)])]
        self._try(drafts, self._weights_writer(targets), self._refuse_weight, self._is_literal)
        drafts = [draft for draft in drafts if draft.why_not is None]
        ones = {id(each): each.places[0].outer for each in drafts}
        bare = [each for each in drafts if each.places[0].strip and abs(ones[id(each)]) <= LARGEST_WEIGHT]
        for draft in bare:  # a neighbour of this very weight is seen to when the change is written
            draft.keeps_ones = any(abs(ones[id(draft)] - weight) < _SAME for weight in self._near(draft))
        bare = [each for each in bare if not each.keeps_ones]
        self._try(bare, self._weights_writer(ones), _keep_ones, self._is_special)
        kept = [draft for draft in bare if draft.keeps_ones]
        self._try(kept, self._weights_writer(ones, keeps_ones=True), self._refuse_weight, self._is_special)

    def check_removals(self, drafts: list[Draft]) -> None:
        """The tidiest way that leaves all else as it is."""
        ways = {id(draft): list(_ways(self._prompt, draft.core)) for draft in drafts if draft.core is not None}
        reasons: dict[int, str] = {}
        for way in range(max(map(len, ways.values()), default=0)):
            left: dict[int, str] = {}
            for draft in drafts:
                draft.remove = ways[id(draft)][way]
            self._try(drafts, self._write_removals, _noted(left), self._is_special)
            reasons = {**left, **reasons}
            drafts = [draft for draft in drafts if id(draft) in left]
        for draft in drafts:
            assert draft.core is not None
            words = self._prompt[draft.core.start : draft.core.end]
            draft.remove, draft.why_stays = None, cannot_go(words, reasons[id(draft)])

    def _near(self, draft: Draft) -> set[float]:
        """Weights at which it would run into a neighbour."""
        return {weight for word in draft.words for weight in self._neighbours.get(word, ())}

    def _unlike(self, draft: Draft, step: float) -> float:
        """A weight to try that needs a bracket, and is none of the neighbours'."""
        now = self._weights[draft.letters[0]] if draft.weight is None else draft.weight
        near = self._near(draft) | {place.outer for place in draft.places}
        wanted = [rounded(now + step), *OTHER_WEIGHTS]
        return next(
            (each for each in wanted if abs(each) <= LARGEST_WEIGHT and all(abs(each - o) > _UNLIKE for o in near)),
            wanted[0],
        )

    def _weights_writer(self, wanted: Mapping[int, float], *, keeps_ones: bool = False) -> Write:
        def write(batch: Sequence[Draft]) -> None:
            targets = {letter: wanted[id(draft)] for draft in batch for letter in draft.letters}
            groups = sorted((group for draft in batch for group in draft.groups), key=lambda group: group.start)
            edits = [edit for group in groups for edit in _edits(group, targets, keeps_ones)]
            prompt, places = apply_edits(self._prompt, edits)
            check_weights(self._elements, self._read(prompt), places, targets)

        return write

    def _write_removals(self, batch: Sequence[Draft]) -> None:
        removed = {letter for draft in batch for letter in self._index.letters_within(draft.core)}
        prompt, places = apply_edits(self._prompt, [draft.remove for draft in batch if draft.remove is not None])
        check_removal(self._elements, self._read(prompt), places, removed)

    def _read(self, prompt: str) -> Elements:
        self._read_letters += letters_to_read(self._elements)
        if self._read_letters > MAX_READ:
            raise _TooMuchError(TOO_LONG)
        return read_elements(prompt, negative=self._negative, with_brackets=self._may_be_deep)

    def _try(self, drafts: Sequence[Draft], write: Write, fail: Fail, alone: Callable[[Draft], bool]) -> None:
        """Writes what stands apart all at once, down to halves and single ones where that goes wrong.

        Args:
            alone: tells what is written by itself in any case; after the others, and in order.
        """
        waiting = [[draft] for draft in reversed(drafts) if alone(draft)]
        waiting += _apart([draft for draft in drafts if not alone(draft)])
        while waiting:
            batch = waiting.pop()
            try:
                write(batch)
            except PromptError as error:
                if len(batch) == 1 or isinstance(error, _TooMuchError):
                    for draft in batch:
                        fail(draft, str(error))
                else:
                    waiting += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]

    def _is_literal(self, _: Draft) -> bool:
        """No schedule is read in this prompt; two changes together may end that."""
        return any(part.tree is None for part in self._elements.parts)

    def _is_special(self, draft: Draft) -> bool:
        """Letters and commas can go whatever goes elsewhere; signs, digits and what is beside branches may not."""
        found = (self._index.leaves[letter] for letter in draft.letters)
        is_text = all((leaf.text.isalpha() or leaf.text == ",") and leaf.end - leaf.start == 1 for leaf in found)
        return not is_text or bool(self._beside_branches.intersection(draft.words))

    def _refuse_weight(self, draft: Draft, reason: str) -> None:
        words = self._prompt[draft.letters[0] : draft.letters[-1] + 1]
        draft.why_not = cannot_change(words, reason)


def _has_number(draft: Draft, target: float) -> bool:
    """Whether a number reaches the weight within the brackets around it; refuses the draft otherwise."""
    try:
        for place in draft.places:
            number_for(target, place.outer)
    except PromptError as error:
        draft.why_not = str(error)
    return draft.why_not is None


def _noted(reasons: dict[int, str]) -> Fail:
    return lambda draft, reason: reasons.update({id(draft): reason})


def _keep_ones(draft: Draft, _: str) -> None:
    draft.keeps_ones = True


def _apart(drafts: Sequence[Draft]) -> list[list[Draft]]:
    """Batches of drafts that do not touch each other."""
    batches: list[list[Draft]] = []
    for draft in sorted(drafts, key=_extent):
        start = _extent(draft)[0]
        batch = next((each for each in batches if _extent(each[-1])[1] + _APART <= start), None)
        if batch is None:
            batches.append([draft])
        else:
            batch.append(draft)
    return batches


def _extent(draft: Draft) -> Span:
    edits = [(place.start, place.end) for place in draft.places]
    edits += [(each.start, each.end) for each in (draft.remove, draft.core) if each is not None]
    return min([draft.span[0], *(start for start, _ in edits)]), max([draft.span[1], *(end for _, end in edits)])
