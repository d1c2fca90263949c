"""A string whose every character knows where it was typed. Knows nothing of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SourceText:
    """A text made of pieces of a typed string, in their order.

    Attributes:
        text: the characters.
        origin: for each character its index in the typed string; strictly increasing.
    """

    text: str
    origin: Sequence[int]

    @classmethod
    def typed(cls, text: str) -> SourceText:
        """The typed string itself."""
        return cls(text, range(len(text)))

    @classmethod
    def join(cls, pieces: Iterable[SourceText]) -> SourceText:
        """The pieces one after another."""
        kept = [piece for piece in pieces if piece.text]
        if len(kept) == 1:
            return kept[0]
        origin: list[int] = []
        for piece in kept:
            origin.extend(piece.origin)
        return cls("".join(piece.text for piece in kept), origin)

    def __len__(self) -> int:
        return len(self.text)

    def slice(self, start: int, end: int) -> SourceText:
        """The characters [start, end)."""
        return SourceText(self.text[start:end], self.origin[start:end])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters [start, end) were typed, as [first, last + 1); needs start < end."""
        return self.origin[start], self.origin[end - 1] + 1
