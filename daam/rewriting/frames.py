"""What each word of a prompt needs so that its emphasis can be edited without reading the prompt again.

A frame is plain data: where the word's own brackets are, what is around them, how the text reads without the word, or
why it must stay as it is. The viewer writes changes of the prompt from frames alone. Knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from daam.errors import PromptError, SettingError
from daam.prompt.table import Span
from daam.prompt.tokenizer import _WORD
from daam.rewriting.checking import check_removal, check_weights, letters_to_read, readings_of
from daam.rewriting.elements import Elements, Node, read_elements
from daam.rewriting.groups import Group, letters_in, weights_of
from daam.rewriting.index import Container, ElementIndex
from daam.rewriting.numbers import LARGEST_WEIGHT, rounded
from daam.rewriting.removal import _room, _ways
from daam.rewriting.rewritten import Edit, apply_edits
from daam.rewriting.weights import _edits, _is_named

MAX_WORK = 4_000_000
"""Words times letters of one prompt."""
MAX_READ = 500_000
"""Letters that are read again to check what was written, before the rest of the words is refused."""
STEP = 0.1
OTHER_WEIGHTS = (0.5, 1.5, 0.7, 1.3)
TOO_LONG = "the prompt is too long for its words to be edited one by one"
_APART = 8  # letters between the edits that are checked together
_SAME = 1e-6


@dataclass(frozen=True)
class Place:
    """Where "(" and ":1.1)" go: [start, end) with what is stripped in it.

    Attributes:
        outer: product of the brackets that stay around it.
        strip: [start, end) of the brackets' characters that go.
        container: number of the brackets or the branch that it stands in.
    """

    start: int
    end: int
    outer: float
    strip: tuple[Span, ...]
    container: int


@dataclass(frozen=True)
class EditFrame:
    """How one word, or all words of one pair of brackets, can be edited.

    Attributes:
        words: their numbers among the spans that were asked for.
        span: [start, end) of them.
        weight: what they weigh now, all brackets counted; None where they differ.
        is_named: it has a letter, a digit or a picture, and is no mere sign.
        places: what gets brackets when the weight changes; several where it stands in several branches.
        keeps_ones: it keeps a bracket where its number would be 1, since it would run into its neighbours.
        why_not: why the weight cannot be changed, for people; None where it can.
        remove: [start, end) that goes with the word, and the text in its place.
        core: the part of `remove` that is the word and its own brackets, without blanks and commas beside them.
        room: [start, end) up to which blanks and commas beside it may go too.
        container: number of what the core stands in.
        why_stays: why it cannot be removed, for people; None where it can.
    """

    words: tuple[int, ...]
    span: Span
    weight: float | None = None
    is_named: bool = True
    places: tuple[Place, ...] = ()
    keeps_ones: bool = False
    why_not: str | None = None
    remove: Edit | None = None
    core: Span | None = None
    room: Span | None = None
    container: int | None = None
    why_stays: str | None = None


@dataclass(frozen=True)
class EditFrames:
    """The frames of a prompt.

    Attributes:
        words: one for each span, in their order.
        brackets: for the words of a pair of brackets, or of a schedule, that has nothing else in it; larger ones first.
        glued: pairs of words without a blank between them, and whether they would become one word at one weight.
        is_literal: a stray "|" keeps all schedules from being read, which two changes together could end.
    """

    words: tuple[EditFrame, ...]
    brackets: tuple[EditFrame, ...] = ()
    glued: tuple[tuple[int, int, bool], ...] = ()
    is_literal: bool = False

    def to_data(self) -> dict[str, Any]:
        """JSON for the viewer."""
        return asdict(self)


def edit_frames(prompt: str, spans: Sequence[Span], *, negative: bool = False) -> EditFrames:
    """The frames of words. What a frame allows was written here, read again, and found to be what was asked.

    Args:
        spans: [start, end) of words, as the token table has them.
        negative: the host does not look for AND in a negative prompt.
    """
    try:
        elements = read_elements(prompt, negative=negative)
        if len(spans) * len(prompt) > MAX_WORK:
            raise PromptError(TOO_LONG)
    except PromptError as error:
        why = str(error)
        return EditFrames(tuple(EditFrame((n,), span, why_not=why, why_stays=why) for n, span in enumerate(spans)))
    return _Framing(elements, spans, negative).frames()


@dataclass
class _Draft:
    """A frame in the making."""

    words: tuple[int, ...]
    span: Span
    letters: tuple[int, ...] = ()
    groups: list[Group] = field(default_factory=list)
    places: tuple[Place, ...] = ()
    weight: float | None = None
    is_named: bool = True
    keeps_ones: bool = False
    why_not: str | None = None
    remove: Edit | None = None
    core: Group | None = None
    why_stays: str | None = None


class _TooMuchError(PromptError):
    """What may be read again for one prompt is used up."""


class _Framing:
    """Drafts of all words and brackets of one prompt, then their checks."""

    def __init__(self, elements: Elements, spans: Sequence[Span], negative: bool) -> None:
        self.elements = elements
        self.prompt = elements.prompt
        self.negative = negative
        self.index = ElementIndex(elements)
        self.weights = weights_of(elements)
        self.read = 0
        self.words = [self._word(number, (span[0], span[1])) for number, span in enumerate(spans)]
        self.owners: dict[int, list[int]] = {}
        for number, word in enumerate(self.words):
            for letter in word.letters:
                self.owners.setdefault(letter, []).append(number)
        self.glued = sorted(self._glued())
        spans = [(one, other, self.prompt[self.words[one].span[1] : self.words[other].span[0]]) for one, other, _ in self.glued]
        self.far = {word for *pair, between in spans if set(between) & set("[|]") for word in pair}
        self.brackets = self._bracket_drafts()

    def frames(self) -> EditFrames:
        drafts = [draft for draft in [*self.words, *self.brackets] if draft.letters]
        for draft in drafts:
            self._find_places(draft)
            self._find_core(draft)
        self._check_weights([draft for draft in drafts if draft.why_not is None])
        self._check_removals([draft for draft in drafts if draft.why_stays is None])
        kept = [draft for draft in self.brackets if draft.why_not is None or draft.why_stays is None]
        kept.sort(key=lambda draft: (-len(draft.words), draft.span))
        is_literal = any(part.tree is None for part in self.elements.parts)
        frames = tuple(map(self._frame, self.words)), tuple(map(self._frame, kept))
        return EditFrames(*frames, tuple(sorted(self.glued)), is_literal)

    # ---- Drafts

    def _word(self, number: int, span: Span) -> _Draft:
        draft = _Draft((number,), span)
        try:
            letters = letters_in(self.elements, [span], self.index.leaves)
        except (PromptError, SettingError) as error:
            draft.why_not = draft.why_stays = str(error)
            return draft
        draft.letters = tuple(sorted(letters))
        draft.is_named = any(_is_named(leaf.text) for leaf in letters.values())
        found = {self.weights[letter] for letter in draft.letters}
        draft.weight = found.pop() if len(found) == 1 else None
        return draft

    def _bracket_drafts(self) -> list[_Draft]:
        """One for each set of two words or more that fills brackets or a schedule."""
        found: dict[tuple[int, ...], _Draft] = {}
        for node in self.index.nodes:
            letters = self.index.letters_of(node)
            words = tuple(sorted({number for letter in letters for number in self.owners.get(letter, ())}))
            within = {letter for number in words for letter in self.words[number].letters}
            if len(words) > 1 and within == set(letters):
                draft = _Draft(words, (min(letters), max(letters) + 1), letters)
                weights = {self.weights[letter] for letter in letters}
                draft.weight = weights.pop() if len(weights) == 1 else None
                found.setdefault(words, draft)
        return list(found.values())

    def _find_places(self, draft: _Draft) -> None:
        draft.groups = self.index.groups(draft.letters, removal=False)
        draft.places = tuple(
            Place(group.start, group.end, group.outer, _strips(group), self.index.number_of(group.container))
            for group in draft.groups
        )

    def _find_core(self, draft: _Draft) -> None:
        groups = self.index.groups(draft.letters, removal=True)
        if len(groups) == 1:
            draft.core = groups[0]
        else:
            draft.why_stays = self._cannot_go(draft, "it stands in several brackets")

    def _glued(self) -> set[tuple[int, int, bool]]:
        """Words that stand side by side in a reading without a blank, and whether they would join at one weight."""
        pairs = set()
        for _, _, words in readings_of(self.elements):
            for word, other in zip(words, words[1:]):
                between = self.prompt[word.letters[-1] + 1 : other.letters[0]]
                if any(map(str.isspace, between)) and not set(between) & set("[|]"):
                    continue
                apart = [match.group() for match in _WORD.finditer(word.text + other.text)] == [word.text, other.text]
                owners = [self.owners.get(each, ()) for each in (word.letters[-1], other.letters[0])]
                pairs |= {(one, two, not apart) for one in owners[0] for two in owners[1] if one != two}
        return pairs

    # ---- Checks

    def _check_weights(self, drafts: list[_Draft]) -> None:
        neighbours: dict[int, set[float]] = {}
        for one, other in ((one, other) for one, other, joins in self.glued if joins):
            neighbours.setdefault(one, set()).update(self.weights[letter] for letter in self.words[other].letters)
            neighbours.setdefault(other, set()).update(self.weights[letter] for letter in self.words[one].letters)
        near = {id(each): set().union(*(neighbours.get(word, set()) for word in each.words)) for each in drafts}
        unlike = {id(each): near[id(each)] | {place.outer for place in each.places} for each in drafts}
        for step in (STEP, -STEP):
            targets = {id(each): self._unlike(each, unlike[id(each)], step) for each in drafts}
            self._try(drafts, lambda batch, targets=targets: self._write_weights(batch, targets, False), self._refuse_weight)
            drafts = [draft for draft in drafts if draft.why_not is None]
        ones = {id(each): each.places[0].outer for each in drafts}
        bare = [each for each in drafts if each.places[0].strip and abs(ones[id(each)]) <= LARGEST_WEIGHT]
        open_ends = [each for each in bare if any(abs(ones[id(each)] - weight) < _SAME for weight in near[id(each)])]
        for draft in open_ends:
            draft.keeps_ones = True  # as it is now, weight 1 is refused: the word would run into its neighbour
        bare = [each for each in bare if not each.keeps_ones]
        kept: list[_Draft] = []
        self._try(bare, lambda batch: self._write_weights(batch, ones, False), lambda draft, _: kept.append(draft))
        for draft in kept:
            draft.keeps_ones = True
        self._try(kept, lambda batch: self._write_weights(batch, ones, True), self._refuse_weight)

    def _unlike(self, draft: _Draft, near: set[float], step: float) -> float:
        """A weight to try that needs a bracket, and is none of the neighbours'."""
        now = self.weights[draft.letters[0]] if draft.weight is None else draft.weight
        wanted = [rounded(now + step), *OTHER_WEIGHTS]
        fits = (each for each in wanted if abs(each) <= LARGEST_WEIGHT and all(abs(each - o) > 0.005 for o in near))
        return next(fits, wanted[0])

    def _write_weights(self, batch: Sequence[_Draft], wanted: Mapping[int, float], keeps_ones: bool) -> None:
        targets = {letter: wanted[id(draft)] for draft in batch for letter in draft.letters}
        groups = sorted((group for draft in batch for group in draft.groups), key=lambda group: group.start)
        edits = [edit for group in groups for edit in _edits(group, targets, keeps_ones)]
        prompt, places = apply_edits(self.prompt, edits)
        check_weights(self.elements, self._read(prompt), places, targets)

    def _check_removals(self, drafts: list[_Draft]) -> None:
        ways = {id(draft): list(_ways(self.prompt, draft.core)) for draft in drafts if draft.core is not None}
        reasons: dict[int, str] = {}
        for way in range(max(map(len, ways.values()), default=0)):
            left: list[_Draft] = []

            def fail(draft: _Draft, reason: str, left: list[_Draft] = left) -> None:
                reasons.setdefault(id(draft), reason)
                left.append(draft)

            for draft in drafts:
                draft.remove = ways[id(draft)][min(way, len(ways[id(draft)]) - 1)]
            self._try(drafts, self._write_removals, fail)
            drafts = left
        for draft in drafts:
            draft.remove, draft.why_stays = None, self._cannot_go(draft, reasons[id(draft)])

    def _write_removals(self, batch: Sequence[_Draft]) -> None:
        removed = {letter for draft in batch for letter in self.index.letters_within(draft.core)}
        prompt, places = apply_edits(self.prompt, [draft.remove for draft in batch if draft.remove is not None])
        check_removal(self.elements, self._read(prompt), places, removed)

    def _read(self, prompt: str) -> Elements:
        self.read += letters_to_read(self.elements)
        if self.read > MAX_READ:
            raise _TooMuchError(TOO_LONG)
        return read_elements(prompt, negative=self.negative)

    def _try(
        self, drafts: Sequence[_Draft], write: Callable[[Sequence[_Draft]], None], fail: Callable[[_Draft, str], None]
    ) -> None:
        """Writes plain words that stand apart all at once, down to halves and single ones where that goes wrong."""
        waiting = [[draft] for draft in drafts if not self._is_plain(draft)]
        waiting += _apart([draft for draft in drafts if self._is_plain(draft)])
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

    def _is_plain(self, draft: _Draft) -> bool:
        """Letters and commas mean the same whatever is done elsewhere; signs, digits and branches may not."""
        found = (self.index.leaves[letter] for letter in draft.letters)
        is_text = all((leaf.text.isalpha() or leaf.text == ",") and leaf.end - leaf.start == 1 for leaf in found)
        return is_text and not self.far.intersection(draft.words)

    def _refuse_weight(self, draft: _Draft, reason: str) -> None:
        words = self.prompt[draft.letters[0] : draft.letters[-1] + 1]
        draft.why_not = (
            f"the weight of {words!r} cannot be changed on its own: {reason}. Put blanks or brackets around the word"
        )

    def _cannot_go(self, draft: _Draft, reason: str) -> str:
        words = self.prompt[draft.core.start : draft.core.end] if draft.core else self.prompt[slice(*draft.span)]
        return f"{words!r} cannot be removed on its own: {reason}. Edit the prompt by hand"

    def _frame(self, draft: _Draft) -> EditFrame:
        can_go = draft.why_stays is None and draft.core is not None
        return EditFrame(
            words=draft.words, span=draft.span, weight=draft.weight, is_named=draft.is_named,
            places=draft.places if draft.why_not is None else (), keeps_ones=draft.keeps_ones, why_not=draft.why_not,
            remove=draft.remove, core=(draft.core.start, draft.core.end) if can_go and draft.core else None,
            room=_room(draft.core) if can_go and draft.core else None,
            container=self.index.number_of(draft.core.container) if can_go and draft.core else None,
            why_stays=draft.why_stays,
        )  # fmt: skip


def _strips(group: Group) -> tuple[Span, ...]:
    pairs = [node for element in group.elements for node in ElementIndex.nodes_of(element) if not node.is_schedule]
    ends = [((pair.start, pair.start + 1), (pair.options[0].end, pair.end)) for pair in pairs]
    return tuple(sorted(span for spans in ends for span in spans))


def _apart(drafts: Sequence[_Draft]) -> list[list[_Draft]]:
    """Batches of drafts that do not touch each other."""
    batches: list[tuple[int, list[_Draft]]] = []
    for draft in sorted(drafts, key=_extent):
        start, end = _extent(draft)
        fits = (number for number, (last, _) in enumerate(batches) if last + _APART <= start)
        number = next(fits, len(batches))
        if number == len(batches):
            batches.append((end, [draft]))
        else:
            batches[number][1].append(draft)
            batches[number] = (end, batches[number][1])
    return [batch for _, batch in batches]


def _extent(draft: _Draft) -> Span:
    edits = [(place.start, place.end) for place in draft.places]
    edits += [(each.start, each.end) for each in (draft.remove, draft.core) if each is not None]
    return min([draft.span[0], *(start for start, _ in edits)]), max([draft.span[1], *(end for _, end in edits)])
