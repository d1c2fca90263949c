"""Plans a study of a prompt: the same seed with words weaker, stronger or left out. Knows no model and no host.

Attention is not contribution: leaving a word out on the same seed is the honest check of what a heat map suggests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from daam.errors import SettingError, TermError
from daam.prompt.explanations import why_not_found
from daam.prompt.table import PromptTable, Span
from daam.prompt.terms import Term, every_word, find_term, parse_terms
from daam.rewriting import remove_all, set_weights

MOST_VARIANTS = 100


@dataclass(frozen=True)
class Variant:
    """One generation of the study.

    Attributes:
        label: what is different, in words.
        prompt: what is generated.
        term: the term that was changed, as it is looked up; None for the unmodified prompt.
        is_left_out: whether it is not in this variant's prompt.
    """

    label: str
    prompt: str
    term: str | None = None
    is_left_out: bool = False


def parse_weights(text: str) -> list[float]:
    """Reads "0.6, 0.8, 1.2"; each weight once, in the order given.

    Raises:
        SettingError: one of them is no finite number.
    """
    weights: list[float] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            weight = float(piece)
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise SettingError(f"weights: expected numbers such as 0.6, 0.8, 1.2, got {piece!r}")
        if weight not in weights:
            weights.append(weight)
    return weights


def plan_study(table: PromptTable, terms: str, weights: Sequence[float], *, leave_out: bool) -> list[Variant]:
    """The unmodified prompt first, then for each term its weights, then the prompt without it.

    Args:
        table: of the typed prompt.
        terms: comma-separated; empty means every word of the prompt.
        leave_out: also without each term.

    Raises:
        SettingError: there is nothing to vary, or more than 100 variants.
        TermError: a term is not in the prompt, or cannot be read.
        PromptError: a term's weight cannot be changed by itself.
    """
    chosen = terms_to_vary(table, terms)
    if not chosen:
        raise SettingError("expected a prompt with words to vary, got none")
    if not weights and not leave_out:
        raise SettingError("expected weights such as 0.6, 1.4, or 'leave each term out', got neither")
    count = count_variants(len(chosen), len(weights), leave_out)
    if count > MOST_VARIANTS:
        raise SettingError(f"expected at most {MOST_VARIANTS} generations, got {count}; choose fewer terms")
    variants = [Variant("unmodified", table.prompt)]
    for term in chosen:
        spans = _spans(term, table)
        for weight in weights:
            prompt = set_weights(table.prompt, spans, weight).prompt
            if prompt != table.prompt:
                variants.append(Variant(f"{term.text} × {weight:g}", prompt, term.quoted))
        if leave_out:
            variants.append(Variant(f"without {term.text}", remove_all(table.prompt, spans).prompt, term.quoted, True))
    return variants


def terms_to_vary(table: PromptTable, terms: str) -> list[Term]:
    """The terms that were named, or every word of the prompt.

    Raises:
        TermError: a term is not in the prompt, or cannot be read.
    """
    chosen = parse_terms(terms)
    for term in chosen:
        _spans(term, table)
    return list(chosen or every_word(table))


def count_variants(terms: int, weights: int, leave_out: bool) -> int:
    """How many generations a study takes, with the unmodified one."""
    return 1 + terms * (weights + leave_out)


def _spans(term: Term, table: PromptTable) -> list[Span]:
    spans = sorted({place.span for place in find_term(term, table)})
    if not spans:
        raise TermError(f"{why_not_found(term, table, None, '')}; choose from: {', '.join(_names(table))}")
    return spans


def _names(table: PromptTable) -> list[str]:
    return [term.text for term in every_word(table)]
