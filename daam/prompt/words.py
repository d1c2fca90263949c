"""The words of a text as CLIP's tokenizer sees them. Needs no vocabulary."""

from __future__ import annotations

from functools import lru_cache

import regex

from daam.prompt.normalise import normalise
from daam.prompt.table import Span
from daam.prompt.tokenizer import _WORD

_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
"""A character of a script that is written without blanks between words."""


@lru_cache(maxsize=16_384)
def split_words(text: str) -> tuple[str, ...]:
    """Lower-case words, digits one by one, signs in runs: `Cat's 10` gives cat, 's, 1, 0.

    Scripts without blanks are cut character by character, so that what a tokenizer takes for a word can be named.
    """
    words = [match.group() for match in _WORD.finditer(normalise(text).text)]
    return tuple(part for word in words for part in (_characters(word) if _UNSPACED.search(word) else [word]))


def _characters(word: str) -> list[str]:
    return [part for part in regex.split(f"({_UNSPACED.pattern})", word) if part]


def is_unspaced(letter: str) -> bool:
    """Whether a character is of a script that is written without blanks between words."""
    return _UNSPACED.fullmatch(letter) is not None


def word_spans(text: str) -> list[Span]:
    """Where words stand in a text that is read as it is, without normalising it: an ending such as 's belongs to one.

    >>> word_spans("a cat's hat")
    [(0, 1), (2, 7), (8, 11)]
    """
    found: list[Span] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        is_ending = match.group()[0] == "'" and match.group()[1:].isalpha()
        if is_ending and found and found[-1][1] == start and text[start - 1].isalnum():
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found
