"""Cleans text as CLIP's tokenizer does and keeps, for every cleaned character, what it was made of."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

import regex

from daam.prompt.limits import MAX_MENDED_CHARACTERS, check_limit
from daam.prompt.table import Span

try:
    import ftfy
except ModuleNotFoundError:  # some hosts do without, and would cut prompts in another way if it were there
    ftfy = None

_BLANKS = regex.compile(r"\s+")
_CHARACTER = regex.compile(r"(?s:.)")
_PIECE = regex.compile(r"\s+|\S+")
_WORD = regex.compile(r"\S+")
_LONGEST_COMPARISON = 500


@dataclass(frozen=True)
class Normalised:
    """Cleaned text; `spans[i]` is the [start, end) of the given text that became character i."""

    text: str
    spans: list[Span]


def normalise(text: str) -> Normalised:
    """Mend broken Unicode with ftfy, make every run of blanks one space, strip, and lower the case."""
    fixed = _mend(text)
    return _lower(_collapse_blanks(fixed, _align(text, fixed)))


def normalise_as(text: str, clean: Callable[[str], str]) -> Normalised:
    """The text as another tokenizer cleans it, which is believed word by word where its words add up to the whole.

    Args:
        clean: of a text all that happens before it is cut into words: it sets one space between words, none around.
    """
    cleaned = clean(text)
    words = [(match.start(), match.group(), clean(match.group())) for match in _WORD.finditer(text)]
    words = [(start, word, made) for start, word, made in words if made]
    if " ".join(made for _, _, made in words) != cleaned:
        return Normalised(cleaned, _align_by_comparison(text, cleaned))
    spans: list[Span] = []
    for start, word, made in words:
        if spans:
            spans.append((spans[-1][1], start))
        spans += [(start + first, start + last) for first, last in _align_by_comparison(word, made)]
    return Normalised(cleaned, spans)


def _mend(text: str, **options: bool) -> str:
    if ftfy is None:
        return unicodedata.normalize("NFC", text)
    fixed: str = ftfy.fix_text(text, **options)
    return fixed


def _align(text: str, fixed: str) -> list[Span]:
    """For every character of `fixed` the part of `text` it came from.

    ftfy looks at a whole line, so its work on smaller pieces is only believed where it adds up to the same text:
    first on single characters, then on words. Otherwise old and new text are compared.
    """
    if fixed == text:
        return [(index, index + 1) for index in range(len(text))]
    is_html_read = "<" not in text
    for pattern in (_CHARACTER, _PIECE):
        pieces = pattern.findall(text)
        made = [_fix_piece(piece, is_html_read) for piece in pieces]
        if "".join(made) == fixed:
            return _align_pieces(pieces, made)
    return _align_by_comparison(text, fixed)


@lru_cache(maxsize=4096)
def _fix_piece(piece: str, is_html_read: bool) -> str:
    return _mend(piece, unescape_html=is_html_read)


def _align_pieces(pieces: list[str], made: list[str]) -> list[Span]:
    spans: list[Span] = []
    offset = 0
    for piece, fixed in zip(pieces, made):
        spans += [(offset + start, offset + end) for start, end in _align_by_comparison(piece, fixed)]
        offset += len(piece)
    return spans


def _align_by_comparison(text: str, fixed: str) -> list[Span]:
    """Equal beginnings and ends belong together; what is between them is compared, or taken as a whole."""
    shorter = min(len(text), len(fixed))
    head = next((index for index in range(shorter) if text[index] != fixed[index]), shorter)
    rest = shorter - head
    tail = next((index for index in range(rest) if text[-1 - index] != fixed[-1 - index]), rest)
    spans = [(index, index + 1) for index in range(head)]
    for start, end, made in _matching_blocks(text[head : len(text) - tail], fixed[head : len(fixed) - tail]):
        _append_block(spans, head + start, head + end, made)
    return spans + [(index, index + 1) for index in range(len(text) - tail, len(text))]


def _append_block(spans: list[Span], start: int, end: int, made: int) -> None:
    """Add the spans of `made` characters that [start, end) became."""
    if made == 0 and spans:  # what vanished belongs to what stands before it, as in "&amp;"
        spans[-1] = (spans[-1][0], end)
    elif made == end - start:
        spans += [(index, index + 1) for index in range(start, end)]
    elif start < end:
        spans += [(start, end)] * made
    else:  # made of nothing: point at a neighbour, a span is never empty
        spans += [(max(start - 1, 0), max(start, 1))] * made


def _matching_blocks(text: str, fixed: str) -> list[tuple[int, int, int]]:
    """(start, end, number of fixed characters) for each block, in order."""
    check_limit(len(text), MAX_MENDED_CHARACTERS, "characters without a blank whose broken Unicode is mended")
    if max(len(text), len(fixed)) > _LONGEST_COMPARISON:
        return [(0, len(text), len(fixed))]
    opcodes = SequenceMatcher(None, text, fixed, autojunk=False).get_opcodes()
    return [(start, end, to - since) for _, start, end, since, to in opcodes]


def _collapse_blanks(text: str, spans: list[Span]) -> Normalised:
    cleaned: list[str] = []
    kept: list[Span] = []
    position = 0
    for match in _BLANKS.finditer(text):
        cleaned += [text[position : match.start()], " "]
        kept += spans[position : match.start()]
        kept.append((spans[match.start()][0], spans[match.end() - 1][1]))
        position = match.end()
    whole = "".join([*cleaned, text[position:]])
    kept += spans[position:]
    leading = len(whole) - len(whole.lstrip())
    stripped = whole.strip()
    return Normalised(stripped, kept[leading : leading + len(stripped)])


def _lower(given: Normalised) -> Normalised:
    """Lower case; one character may become several, as the Turkish dotted I does."""
    lowered = given.text.lower()
    if len(lowered) == len(given.text):
        return Normalised(lowered, given.spans)
    spans = [span for character, span in zip(given.text, given.spans) for _ in character.lower()]
    return Normalised(lowered, spans)
