"""Row → text → columns: which columns of the text behind a row are kept. The one book for every host.

Knows token tables; which row has which table is the host's word.
"""

from __future__ import annotations

from collections.abc import Sequence

from daam.prompt.content import content_columns
from daam.prompt.table import PromptPart, ScheduleEntry
from daam.prompt.terms import Term, columns_of_terms
from daam.prompt.typed_words import kept_columns, word_columns, words_of
from daam.tracing.plan import Side, TextKey, TracedText


class TextBook:
    """Made once for each text of a generation: finding the words of an entry takes longer than a hook should."""

    def __init__(
        self,
        *,
        keep_details: bool = False,
        terms: Sequence[Term] = (),
        is_refined: bool = False,
        with_outputs: bool = False,
    ):
        """
        Args:
            keep_details: whether maps of single steps or heads are kept.
            terms: those that they are kept for; none stands for every word.
            is_refined: whether refined maps are wanted, of the words that name something.
            with_outputs: whether maps in the attention's output space are wanted, of every word and sign.
        """
        self._is_refined, self._with_outputs = is_refined, with_outputs
        self._keep_details = keep_details
        self._terms = tuple(terms)
        self._texts: dict[TextKey, TracedText | None] = {}

    def text(self, image: int, side: Side, part: PromptPart, number: int, entry: int) -> TracedText | None:
        """The text behind a row; None where it has no word.

        Args:
            part: the AND part behind the row.
            number: of the part, under which its maps are kept; different parts have different numbers.
            entry: number of the schedule entry.
        """
        key = TextKey(image, side, number, entry)
        if key not in self._texts:
            self._texts[key] = self._new_text(key, part.schedule[key.entry])
        return self._texts[key]

    def _new_text(self, key: TextKey, entry: ScheduleEntry) -> TracedText | None:
        if not word_columns(entry):
            return None
        details = columns_of_terms(self._terms, entry) if self._keep_details else ()
        refined = content_columns(entry) if self._is_refined and key.side == "positive" else ()
        outputs = tuple(word.columns for word in words_of(entry).words) if self._with_outputs else ()
        return TracedText(key, kept_columns(entry), details, refined, output_words=outputs)
