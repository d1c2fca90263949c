"""Splits a prompt at the word AND and reads the weight of each part. Knows no schedule and no emphasis."""

from __future__ import annotations

import re

from daam.prompt.limits import check_weight
from daam.prompt.source_text import SourceText

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*([-+]?(?:\d*\.\d+|\d+\.?))")


def split_parts(prompt: SourceText) -> list[tuple[SourceText, float]]:
    """The parts that AND joins, each with its weight, as the WebUI splits a positive prompt.

    AND is found before any bracket is read. A trailing ":1.2" is a weight even where there is no AND at all.
    """
    parts = []
    position = 0
    for match in _AND.finditer(prompt.text):
        parts.append(prompt.slice(position, match.start()))
        position = match.end()
    parts.append(prompt.slice(position, len(prompt)))
    return [_read_weight(part) for part in parts]


def _read_weight(part: SourceText) -> tuple[SourceText, float]:
    """The part without blanks at its end and without its weight; the weight is 1 where none is typed."""
    body = part.text.rstrip()
    colon = body.rfind(":")
    number = _WEIGHT.fullmatch(body, colon + 1) if colon >= 0 else None
    if number is None:
        return part.slice(0, len(body)), 1.0
    return part.slice(0, len(body[:colon].rstrip())), check_weight(float(number.group(1)))
