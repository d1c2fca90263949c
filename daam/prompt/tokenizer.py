"""CLIP's tokenizer with the place of every token in its text. Knows no prompt syntax and no model.

It gives the ids of transformers' slow CLIPTokenizer 4.30.2, which AUTOMATIC1111's WebUI 1.10 uses. The fast
tokenizer, which is all that transformers 5 has, differs: it does not mend broken Unicode with ftfy. Nor does the slow
one where ftfy is not installed. `cleaning_as` gives their ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import regex
from tokenizers.models import BPE

from daam.errors import ModelError
from daam.prompt.normalise import Normalised, normalise, normalise_as

START_TEXT = "<|startoftext|>"
END_TEXT = "<|endoftext|>"
_WORD_END = "</w>"

_SPECIAL = regex.compile("(" + "|".join(map(regex.escape, (START_TEXT, END_TEXT))) + ")")
# A word of CLIP (Radford et al. 2021): special text, an English ending, letters, one digit, or signs.
_WORD = regex.compile(
    "|".join([_SPECIAL.pattern, *("'" + end for end in ("s", "t", "re", "ve", "m", "ll", "d"))])
    + r"|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


class TokenPiece(NamedTuple):
    """One token of a text: its id, the [start, end) of the text it covers, and the number of its word.

    Tokens that share a character, such as those of one emoji, cover the whole of it.
    """

    token: int
    start: int
    end: int
    word: int


def _byte_characters() -> list[str]:
    """The character that stands for each byte in CLIP's vocabulary: itself if printable, else 256 and up."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


class ClipTokenizer:
    """Token ids with character spans.

    Args:
        vocabulary: id of each token, as in vocab.json.
        merges: pairs to join, most important first, as in merges.txt.
    """

    def __init__(self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        missing = [text for text in (START_TEXT, END_TEXT, "," + _WORD_END) if text not in vocabulary]
        if missing:
            raise ModelError(f"expected the vocabulary of CLIP's tokenizer, but it has no {', '.join(missing)}")
        self.start_token = vocabulary[START_TEXT]
        self.end_token = vocabulary[END_TEXT]
        self.comma_token = vocabulary["," + _WORD_END]
        self._special = {START_TEXT: self.start_token, END_TEXT: self.end_token}
        self._byte_characters = _byte_characters()
        self._bpe = BPE(vocab=dict(vocabulary), merges=list(merges), unk_token=END_TEXT, end_of_word_suffix=_WORD_END)
        self._cut_word = lru_cache(maxsize=8192)(self._cut_new_word)
        self._normalise: Callable[[str], Normalised] = normalise

    def cleaning_as(self, tokenizer: Any) -> ClipTokenizer:
        """This one, cleaning texts as a CLIP tokenizer of transformers does, whichever of its ways that is."""
        own_way = getattr(tokenizer, "nlp", None)  # of the slow one without ftfy
        backend = getattr(tokenizer, "backend_tokenizer", None)
        found = copy(self)
        if own_way is not None and getattr(tokenizer, "fix_text", None) is None:
            found._normalise = lambda text: normalise_as(text, lambda part: " ".join(own_way.tokenize(part)))
        elif backend is not None and backend.normalizer is not None:
            found._normalise = lambda text: normalise_as(
                text, lambda part: backend.normalizer.normalize_str(part).strip()
            )
        return found

    @classmethod
    def from_folder(cls, folder: str | Path) -> ClipTokenizer:
        """Read vocab.json and merges.txt, as in the `tokenizer` folder of a diffusers model.

        Raises:
            ModelError: a file is missing or cannot be read.
        """
        try:
            vocabulary = json.loads((Path(folder) / "vocab.json").read_text(encoding="utf-8"))
            lines = (Path(folder) / "merges.txt").read_text(encoding="utf-8").strip().split("\n")
        except (OSError, ValueError) as error:
            raise ModelError(f"expected vocab.json and merges.txt of a CLIP tokenizer in {folder}: {error}") from error
        merges = lines[1:] if lines[0].startswith("#version") else lines
        return cls(vocabulary, [_pair(merge) for merge in merges])

    @classmethod
    def from_transformers(cls, tokenizer: Any) -> ClipTokenizer:
        """Take vocabulary and merges out of a CLIPTokenizer or CLIPTokenizerFast of transformers 4.30 to 5.

        A slow tokenizer (before 5) keeps them in `encoder` and `bpe_ranks`. A fast one, and every one since 5,
        wraps an object of the `tokenizers` package, whose JSON form holds them.

        Raises:
            ModelError: it is another kind of tokenizer.
        """
        if hasattr(tokenizer, "bpe_ranks"):
            ranks = tokenizer.bpe_ranks
            return cls(tokenizer.encoder, sorted(ranks, key=ranks.__getitem__))
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(f"expected a CLIPTokenizer of transformers, got {type(tokenizer).__name__}")
        model = json.loads(backend.to_str())["model"]
        if model.get("type") != "BPE":
            raise ModelError(f"expected a byte-pair tokenizer such as CLIP's, got one of type {model.get('type')}")
        return cls(model["vocab"], [_pair(merge) for merge in model["merges"]])

    def encode(self, text: str) -> list[TokenPiece]:
        """The tokens of a text, without start, end and padding."""
        pieces: list[TokenPiece] = []
        word = 0
        position = 0
        for segment in _SPECIAL.split(text):
            for token, start, end, number in self._encode_segment(segment):
                pieces.append(TokenPiece(token, position + start, position + end, word + number))
            position += len(segment)
            word = pieces[-1].word + 1 if pieces else 0
        return pieces

    def _encode_segment(self, segment: str) -> Iterator[tuple[int, int, int, int]]:
        """(token, start, end, word) of a text without special text, or of a special text alone."""
        if segment in self._special:
            yield self._special[segment], 0, len(segment), 0
            return
        cleaned = self._normalise(segment)
        for number, match in enumerate(_WORD.finditer(cleaned.text)):
            for token, first, last in self._cut_word(match.group()):
                spans = cleaned.spans[match.start() + first : match.start() + last]
                yield token, spans[0][0], spans[-1][1], number

    def _cut_new_word(self, word: str) -> tuple[tuple[int, int, int], ...]:
        """(token, first character, character after the last) for each token of one word."""
        if word in self._special:
            return ((self._special[word], 0, len(word)),)
        encoded = [character.encode("utf-8") for character in word]
        owners = [index for index, coded in enumerate(encoded) for _ in coded]
        tokens = self._bpe.tokenize("".join(self._byte_characters[byte] for coded in encoded for byte in coded))
        cut = []
        byte = 0
        for token in tokens:
            end = byte + len(token.value.removesuffix(_WORD_END))
            cut.append((token.id, owners[byte], owners[end - 1] + 1))
            byte = end
        return tuple(cut)


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge as two tokens; older files hold it as one string."""
    first, second = merge.split() if isinstance(merge, str) else merge
    return first, second
