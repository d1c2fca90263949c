"""Finds for each word of a prompt what its edits need, so that nobody has to read the prompt again to write them.

The viewer changes prompts by these frames alone. Knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence

from daam.errors import PromptError, SettingError
from daam.prompt.table import Span
from daam.prompt.tokenizer import _WORD
from daam.rewriting.checking import readings_of
from daam.rewriting.edit_frame import Draft, EditFrame, EditFrames, Place
from daam.rewriting.elements import Elements, nodes, read_elements
from daam.rewriting.frame_checks import TOO_LONG, FrameChecks
from daam.rewriting.groups import Group, letters_in, weights_of
from daam.rewriting.index import ElementIndex
from daam.rewriting.removal import _room, cannot_go
from daam.rewriting.weights import _is_named

MAX_WORK = 4_000_000
"""Words times letters of one prompt."""


def edit_frames(prompt: str, spans: Sequence[Span], *, negative: bool = False) -> EditFrames:
    """The frames of words. What a frame allows was written here, read again, and found to be what was asked.

    Args:
        spans: [start, end) of words, as the token table has them.
        negative: the host does not look for AND in a negative prompt.

    Returns:
        A frame for each span; where the prompt cannot be read, all say why.
    """
    try:
        elements = read_elements(prompt, negative=negative)
        if len(spans) * len(prompt) > MAX_WORK:
            raise PromptError(TOO_LONG)
        return _Framing(elements, spans, negative).frames()
    except PromptError as error:
        why = str(error)
        return EditFrames(tuple(EditFrame((n,), span, why_not=why, why_stays=why) for n, span in enumerate(spans)))


class _Framing:
    """Drafts of all words and brackets of one prompt."""

    def __init__(self, elements: Elements, spans: Sequence[Span], negative: bool) -> None:
        self._elements = elements
        self._prompt = elements.prompt
        self._negative = negative
        self._tags = tuple(tag.span for tag in elements.tags)
        self._index = ElementIndex(elements)
        self._weights = weights_of(elements)
        self._words = [self._word(number, (span[0], span[1])) for number, span in enumerate(spans)]
        self._owners: dict[int, list[int]] = {}
        for number, word in enumerate(self._words):
            for letter in word.letters:
                self._owners.setdefault(letter, []).append(number)

    def frames(self) -> EditFrames:
        brackets, glued = self._brackets(), self._glued()
        drafts = [draft for draft in [*self._words, *brackets] if draft.letters]
        for draft in drafts:
            self._find_places(draft)
            self._find_core(draft)
        checks = FrameChecks(self._elements, self._negative, self._index, self._words, glued, self._weights)
        checks.check_weights([draft for draft in drafts if draft.why_not is None])
        checks.check_removals([draft for draft in drafts if draft.why_stays is None])
        kept = [draft for draft in brackets if draft.why_not is None or draft.why_stays is None]
        kept.sort(key=lambda draft: (-len(draft.words), draft.span))
        is_literal = any(part.tree is None for part in self._elements.parts)
        words, whole = tuple(map(self._frame, self._words)), tuple(map(self._frame, kept))
        return EditFrames(words, whole, glued, self._tags, is_literal)

    def _word(self, number: int, span: Span) -> Draft:
        draft = Draft((number,), span)
        try:
            letters = letters_in(self._elements, [span], self._index.leaves)
        except (PromptError, SettingError) as error:
            draft.why_not = draft.why_stays = str(error)
            return draft
        draft.letters = tuple(sorted(letters))
        draft.is_named = any(_is_named(leaf.text) for leaf in letters.values())
        draft.weight = self._one_weight(draft.letters)
        return draft

    def _one_weight(self, letters: Sequence[int]) -> float | None:
        found = {self._weights[letter] for letter in letters}
        return found.pop() if len(found) == 1 else None

    def _brackets(self) -> list[Draft]:
        """One for each set of two words or more that fills brackets or a schedule."""
        found: dict[tuple[int, ...], Draft] = {}
        for node in self._index.nodes:
            letters = self._index.letters_of(node)
            words = tuple(sorted({number for letter in letters for number in self._owners.get(letter, ())}))
            within = {letter for number in words for letter in self._words[number].letters}
            if len(words) > 1 and within == set(letters) and words not in found:
                span = min(letters), max(letters) + 1
                found[words] = Draft(words, span, letters, weight=self._one_weight(letters))
        return list(found.values())

    def _glued(self) -> tuple[tuple[int, int, bool], ...]:
        """Words that stand side by side in a reading without a blank, and whether they would join at one weight."""
        pairs: set[tuple[int, int, bool]] = set()
        read = list(self._prompt)
        for start, end in self._tags:
            read[start:end] = "<" * (end - start)
        for _, _, words in readings_of(self._elements):
            for word, other in zip(words, words[1:]):
                between = read[word.letters[-1] + 1 : other.letters[0]]
                if any(map(str.isspace, between)) and not set(between) & set("[|]"):
                    continue
                apart = [match.group() for match in _WORD.finditer(word.text + other.text)] == [word.text, other.text]
                owners = [self._owners.get(each, ()) for each in (word.letters[-1], other.letters[0])]
                pairs |= {(one, two, not apart) for one in owners[0] for two in owners[1] if one != two}
        return tuple(sorted(pairs))

    def _find_places(self, draft: Draft) -> None:
        draft.groups = self._index.groups(draft.letters, removal=False)
        draft.places = tuple(
            Place(group.start, group.end, group.outer, _strips(group), self._index.number_of(group.container))
            for group in draft.groups
        )

    def _find_core(self, draft: Draft) -> None:
        groups = self._index.groups(draft.letters, removal=True)
        if len(groups) == 1:
            draft.core = groups[0]
        else:
            draft.why_stays = cannot_go(self._prompt[slice(*draft.span)], "it stands in several brackets")

    def _frame(self, draft: Draft) -> EditFrame:
        core = draft.core if draft.why_stays is None else None
        return EditFrame(
            words=draft.words,
            span=draft.span,
            weight=draft.weight,
            is_named=draft.is_named,
            places=draft.places if draft.why_not is None else (),
            keeps_ones=draft.keeps_ones,
            why_not=draft.why_not,
            remove=draft.remove,
            core=(core.start, core.end) if core else None,
            room=_room(core) if core else None,
            container=self._index.number_of(core.container) if core else None,
            why_stays=draft.why_stays,
        )


def _strips(group: Group) -> tuple[Span, ...]:
    pairs = [node for element in group.elements for node in nodes(element) if not node.is_schedule]
    ends = [((pair.start, pair.start + 1), (pair.options[0].end, pair.end)) for pair in pairs]
    return tuple(sorted(span for spans in ends for span in spans))
