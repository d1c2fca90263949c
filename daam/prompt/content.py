"""Which words name something. Knows no map."""

from __future__ import annotations

from daam.prompt.table import ScheduleEntry
from daam.prompt.typed_words import words_of

FUNCTION_WORDS = frozenset(
    (
        "a", "above", "across", "against", "along", "among", "an", "and", "are", "around", "as", "at", "be",
        "behind", "below", "beneath", "beside", "between", "but", "by", "for", "from", "her", "his", "in", "into",
        "is", "it", "its", "near", "nor", "of", "on", "onto", "or", "over", "that", "the", "their", "these", "this",
        "those", "through", "to", "toward", "towards", "under", "upon", "was", "were", "which", "while", "who",
        "with", "within", "without",
    )
)  # fmt: skip
"""English words that name nothing: articles, conjunctions, prepositions, pronouns. Nothing is said of them."""


def names_something(word: str) -> bool:
    """Whether a word is more than a sign or a function word.

    >>> [names_something(word) for word in ("cat", "the", "above", ",")]
    [True, False, False, False]
    """
    return word.casefold() not in FUNCTION_WORDS and any(map(str.isalnum, word))


def content_columns(entry: ScheduleEntry) -> tuple[int, ...]:
    """The columns of words that name something, in order."""
    return tuple(sorted(c for word in words_of(entry).words if names_something(word.text) for c in word.columns))
