"""Says things at a terminal, in what it can show. Knows no heat map."""

from __future__ import annotations

import sys
from typing import TextIO

SUBSTITUTES = {"█": "#", "–": "-", "…": "...", "“": '"', "”": '"', "’": "'", "×": "x", "·": "-"}
"""Of the signs that our own sentences use."""


def say(text: str = "", *, to: TextIO | None = None) -> None:
    """Prints a line; on the standard output where nothing else is named."""
    stream = to or sys.stdout
    if stream is not None:  # it was closed before we came
        print(showable(text, stream.encoding), file=stream)


def showable(text: str, encoding: str | None) -> str:
    r"""The text in what an encoding has: our own signs as plain ones, all others as \u732b.

    Args:
        encoding: of a stream; None where it takes every text.
    """
    known = encoding or "utf-8"
    if _fits(text, known):
        return text
    plain = "".join(sign if _fits(sign, known) else SUBSTITUTES.get(sign, sign) for sign in text)
    return plain.encode(known, "backslashreplace").decode(known)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
