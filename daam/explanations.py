"""Says why a term has no heat map, in one sentence for the user. Knows token tables, no maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daam.prompt.table import PromptTable
from daam.prompt.words import split_words
from daam.terms import Place, Term, find_term


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
    if _contains(split_words(table.prompt), term.words):
        if "[" in table.prompt:
            return f"{term.text!r} was never active: the prompt's schedule does not reach it in the steps that ran"
        return f"{term.text!r} was typed, but is not in the text that was encoded: the prompt is cut off before it"
    return f"{term.text!r} is not in the prompt"


def why_never_active(term: Term, places: Sequence[Place], table: PromptTable, calls: int) -> str:
    """Why a term that is in the table has no maps: its schedule entries never conditioned a model call."""
    entries = [table.parts[place.part].schedule[place.entry] for place in places]
    when = " and ".join(dict.fromkeys(f"steps {entry.first_step} to {entry.end_at_step}" for entry in entries))
    return f"{term.text!r} was never active: it stands in the prompt for {when}, and {calls} steps ran"


def _contains(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(tuple(words[start : start + len(wanted)]) == tuple(wanted) for start in range(len(words)))
