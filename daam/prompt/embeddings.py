"""Finds the words of textual-inversion embeddings among token ids. Knows no file and no vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daam.errors import SettingError
from daam.prompt.tokenizer import ClipTokenizer


@dataclass(frozen=True)
class EmbeddingWord:
    """An embedding: its name, the token ids of its name, and how many columns its vectors take."""

    name: str
    tokens: tuple[int, ...]
    vectors: int


class EmbeddingWords:
    """The known embeddings, by the first token of their names.

    Args:
        embeddings: number of vectors of each name, in the order in which the host loaded them.

    Raises:
        SettingError: a number of vectors is no positive whole number, or a name gives no token.
    """

    def __init__(self, embeddings: Mapping[str, int], tokenizer: ClipTokenizer) -> None:
        self._by_first: dict[int, list[EmbeddingWord]] = {}
        for name, vectors in embeddings.items():
            if isinstance(vectors, bool) or not isinstance(vectors, int) or vectors < 1:
                raise SettingError(f"embedding {name!r}: expected a positive number of vectors, got {vectors!r}")
            tokens = tuple(piece.token for piece in tokenizer.encode(name))
            if not tokens:
                raise SettingError(f"embedding {name!r}: the name holds no text; give it one with letters or digits")
            self._by_first.setdefault(tokens[0], []).append(EmbeddingWord(name, tokens, vectors))
        for words in self._by_first.values():
            words.sort(key=lambda word: len(word.tokens), reverse=True)

    def find(self, tokens: Sequence[int], position: int) -> EmbeddingWord | None:
        """The embedding whose name starts at `position`; of several the one with the longest name."""
        for word in self._by_first.get(tokens[position], ()):
            if tuple(tokens[position : position + len(word.tokens)]) == word.tokens:
                return word
        return None
