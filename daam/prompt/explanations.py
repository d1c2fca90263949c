"""Says why a term has no heat map, in one sentence for the user. Knows token tables, no maps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from daam.prompt.table import PromptTable, ScheduleEntry, TokenColumn
from daam.prompt.terms import Place, Term, find_term
from daam.prompt.typed_words import Word, words_of
from daam.prompt.words import split_words

_SYNTAX = re.compile(r":\s*[\d.]+\s*(?=[)\]])|[()\[\]]")


def why_not_found(term: Term, table: PromptTable, other: PromptTable | None, other_name: str) -> str:
    """Why a term stands nowhere in a table.

    Args:
        other: the table of the other side, called `other_name` ("negative prompt", say); None where there is none.
    """
    if term.occurrence is not None:
        count = len({place.span for place in find_term(replace(term, occurrence=None), table)})
        if count:
            return f"{term.text!r}: the prompt has only {count} of it"
    if other is not None and find_term(term, other):
        return f"{term.text!r} is only in the {other_name}"
    if any(_contains(split_words(tag.text), term.words) for tag in table.tags):
        return f"{term.text!r} is only in an extra-network tag, which is removed before the prompt is encoded"
    if _contains(_typed_words(table.prompt), term.words):
        return _why_not_encoded(term, [entry for part in table.parts for entry in part.schedule])
    return f"{term.text!r} is not in the prompt"


def _why_not_encoded(term: Term, entries: Sequence[ScheduleEntry]) -> str:
    """Why a term that was typed stands in no entry as a word of its own."""
    for entry in entries:
        whole = next((word for word in words_of(entry).words if _contains(word.parts, term.words)), None)
        if whole is not None and all(column.kind == "text" for column in _columns(entry, whole)):
            return f"{term.text!r} is part of the word {whole.text!r}"
        for column in entry.columns:
            if column.kind == "embedding" and _contains(split_words(column.piece), term.words):
                return f"{term.text!r} is part of the embedding {column.piece!r}, which is one word"
    if not any(_contains(_typed_words(entry.text), term.words) for entry in entries):
        return f"{term.text!r} was never active: the prompt's schedule does not reach it in the steps that ran"
    if any(entry.columns and entry.columns[-2].kind in ("text", "embedding") for entry in entries):
        return (
            f"{term.text!r} was typed, but is not in the text that was encoded: "
            f"the prompt is cut off before it, at {len(entries[0].columns)} tokens"
        )
    return f"{term.text!r} was typed, but is not in the text that was encoded"


def why_never_active(term: Term, places: Sequence[Place], table: PromptTable, calls: int) -> str:
    """Why a term that is in the table has no maps: its schedule entries never conditioned a model call."""
    entries = [table.parts[place.part].schedule[place.entry] for place in places]
    when = " and ".join(dict.fromkeys(f"steps {entry.first_step} to {entry.end_at_step}" for entry in entries))
    return f"{term.text!r} was never active: it stands in the prompt for {when}, and {calls} steps ran"


def why_side_unused(term: Term, side: str) -> str:
    """Why a term of a prompt that conditioned nothing has no maps."""
    reason = "; it is not used with a guidance scale of 1 or less" if side == "negative" else ""
    return f"{term.text!r} was never active: the {side} prompt conditioned no model call{reason}"


@lru_cache(maxsize=64)
def _typed_words(text: str) -> tuple[str, ...]:
    """The words of a typed text without its brackets and weights."""
    return split_words(_SYNTAX.sub(" ", text))


def _columns(entry: ScheduleEntry, word: Word) -> list[TokenColumn]:
    return [entry.columns[column] for column in word.columns]


def _contains(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(tuple(words[start : start + len(wanted)]) == tuple(wanted) for start in range(len(words)))
