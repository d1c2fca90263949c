"""The words of a text as CLIP's tokenizer sees them. Needs no vocabulary."""

from __future__ import annotations

from functools import lru_cache

from daam.prompt.normalise import normalise
from daam.prompt.table import Span
from daam.prompt.tokenizer import _WORD


@lru_cache(maxsize=16_384)
def split_words(text: str) -> tuple[str, ...]:
    """Lower-case words, digits one by one, signs in runs: `Cat's 10` gives cat, 's, 1, 0."""
    return tuple(match.group() for match in _WORD.finditer(normalise(text).text))


def word_spans(text: str) -> list[Span]:
    """Where the same words stand in a text that is read as it is, without normalising it."""
    return [match.span() for match in _WORD.finditer(text)]
