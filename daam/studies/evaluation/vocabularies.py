"""Which words count in an evaluation, and which of them mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from daam.errors import SettingError

FOLDER = Path(__file__).parent / "vocabularies"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Vocabulary:
    """Labels and their words.

    Attributes:
        name: as it was asked for.
        labels: in order; the first is number 1 of a composite. Empty where every word is a label of its own.
        label_of: label of each word.
    """

    name: str
    labels: Sequence[str] = ()
    label_of: Mapping[str, str] | None = None

    def label(self, word: str) -> str | None:
        """The label of a word; None where the vocabulary does not have it."""
        word = word.lower()
        return word if self.label_of is None else self.label_of.get(word)

    def grouped(self, by_word: Mapping[str, Value]) -> dict[str, list[Value]]:
        """What belongs to words, by their labels; words outside of the vocabulary are left out."""
        found: dict[str, list[Value]] = {}
        for word, value in by_word.items():
            label = self.label(word)
            if label is not None:
                found.setdefault(label, []).append(value)
        return found


def load_vocabulary(name: str) -> Vocabulary:
    """`none`, a file of `vocabularies/` by its name, or any file with `label` or `label: word, word` on each line.

    Raises:
        SettingError: there is no such file, or a word has two labels.
    """
    if name == "none":
        return Vocabulary(name)
    known = sorted(path.stem for path in FOLDER.glob("*.txt"))
    path = FOLDER / f"{name}.txt" if name in known else Path(name)
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingError(f"vocabulary: expected none, {', '.join(known)}, or a file, got {name!r}") from error
    label_of: dict[str, str] = {}
    labels = []
    for line in lines:
        label, colon, words = (part.strip().lower() for part in line.partition("#")[0].partition(":"))
        if not label:
            continue
        labels.append(label)
        for word in [*(word.strip() for word in words.split(",")), *([] if colon else [label])]:
            if word and label_of.setdefault(word, label) != label:
                raise SettingError(f"vocabulary {name}: {word!r} belongs to {label_of[word]!r} and to {label!r}")
    return Vocabulary(name, tuple(labels), label_of)
