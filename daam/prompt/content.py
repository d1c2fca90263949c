"""Which words name something. Knows no map."""

from __future__ import annotations

from daam.prompt.table import ScheduleEntry
from daam.prompt.typed_words import words_of

FUNCTION_WORDS = frozenset(
    (
        "a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "is", "it", "its", "of", "on", "or", "over",
        "that", "the", "this", "to", "under", "was", "were", "with",
    )
)  # fmt: skip
"""Words that name nothing; nothing is said of them."""


def names_something(word: str) -> bool:
    """Whether a word is more than a sign or a function word.

    >>> names_something("cat"), names_something("the"), names_something(",")
    (True, False, False)
    """
    return word.casefold() not in FUNCTION_WORDS and any(map(str.isalnum, word))


def content_columns(entry: ScheduleEntry) -> tuple[int, ...]:
    """The columns of words that name something, in order."""
    return tuple(sorted(c for word in words_of(entry).words if names_something(word.text) for c in word.columns))
