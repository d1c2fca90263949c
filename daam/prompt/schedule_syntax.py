"""Reads prompt editing [a:b:0.5] and alternation [a|b] into a lark tree. Knows no steps.

The WebUI parses with an ambiguous Earley grammar, which is slow and takes a bracket that has no partner as
literal text, but only outside all other brackets. The same trees come from three passes in linear time: lark's
lexer cuts the text into pieces, `_Marker` finds the brackets that pair up, and lark's LALR parser builds the
tree. A bar outside all pairs makes the WebUI's grammar give up; then there is no tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters

_WHEN = re.compile(r"\s*[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")
_HERE = Path(__file__).parent


def read_syntax(text: str) -> Tree[Token] | None:
    """The tree of `schedule.lark`, or None where the WebUI's grammar gives up and takes the text literally."""
    try:
        pieces = list(_parser("pieces.lark").lex(text))
    except UnexpectedCharacters:
        return None
    kinds = _Marker(pieces).mark()
    if "BAR" in kinds:
        return None
    parser = _parser("schedule.lark").parse_interactive()
    for kind, piece in zip(kinds, pieces):
        parser.feed_token(Token.new_borrow_pos(kind, piece, piece))
    tree: Tree[Token] = parser.feed_eof()  # type: ignore[no-untyped-call]
    return tree


@cache
def _parser(name: str) -> Lark:
    grammar = (_HERE / name).read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="basic")


@dataclass
class _Pair:
    """A bracket that waits for its partner; all numbers are indices into the pieces."""

    opening: int
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


class _Marker:
    """Gives every piece the terminal that `schedule.lark` knows it by."""

    def __init__(self, pieces: list[Token]) -> None:
        self.pieces = pieces
        self.kinds = [piece.type if piece.type in ("TEXT", "BAR") else "STRAY" for piece in pieces]
        self.waiting: list[_Pair] = []
        self.edits: list[tuple[_Pair, int]] = []

    def mark(self) -> list[str]:
        """One terminal per piece. STRAY is a bracket or colon outside all pairs, BAR a bar outside all pairs."""
        for index, piece in enumerate(self.pieces):
            if piece.type in ("ROUND_OPEN", "SQUARE_OPEN"):
                self.waiting.append(_Pair(index))
            elif piece.type in ("ROUND_CLOSE", "SQUARE_CLOSE"):
                self._close(index)
            elif piece.type == "COLON" and self.waiting:
                self.waiting[-1].colons.append(index)
            elif piece.type == "BAR" and self.waiting:
                self.waiting[-1].bars.append(index)
        self._undo_edits_before_strays()
        return self.kinds

    def _close(self, closing: int) -> None:
        """Pair the innermost bracket. Where that fails both are stray, and so is every bracket around them."""
        pair = self.waiting.pop() if self.waiting else None
        shape = None if pair is None else self._shape(pair, closing)
        if pair is None or shape is None:
            self.waiting.clear()
            return
        self.kinds[pair.opening] = f"{shape}_OPEN"
        self.kinds[closing] = f"{shape}_CLOSE"
        for colon in pair.colons:
            self.kinds[colon] = f"{shape}_COLON"
        for bar in pair.bars:
            self.kinds[bar] = f"{shape}_BAR"
        if shape == "EDIT":
            self.kinds[closing - 1] = "WHEN"
            self.edits.append((pair, closing))

    def _shape(self, pair: _Pair, closing: int) -> str | None:
        is_round = self.pieces[pair.opening].type == "ROUND_OPEN"
        if is_round != (self.pieces[closing].type == "ROUND_CLOSE"):
            return None
        if is_round:
            return "ROUND" if not pair.bars and len(pair.colons) <= 1 else None
        if pair.bars:
            return None if pair.colons else "ALTERNATE"
        if not pair.colons:
            return "SQUARE"
        return "EDIT" if len(pair.colons) <= 2 and self._ends_with_number(pair, closing) else None

    def _ends_with_number(self, pair: _Pair, closing: int) -> bool:
        return pair.colons[-1] == closing - 2 and _WHEN.fullmatch(self.pieces[closing - 1]) is not None

    def _undo_edits_before_strays(self) -> None:
        """Make an edit literal whose closing bracket stands right before a stray bracket or colon: [a:5]].

        The WebUI's parser has two equally good trees there and takes either, by the hash seed of its process. This
        one is in the recorded answers. Where it would lead to a further choice, the edit is the likelier tree.
        """
        nested = self._nested_pieces()
        undone = [
            (pair, closing)
            for pair, closing in self.edits
            if not nested[closing]
            and self._kind(closing + 1) == "STRAY"
            and not any(self._touches_edit(index) for index in (pair.opening, *pair.colons))
        ]
        for pair, closing in undone:
            self.kinds[closing - 1] = "TEXT"
            for index in (pair.opening, *pair.colons, closing):
                self.kinds[index] = "STRAY"

    def _nested_pieces(self) -> list[bool]:
        """For each piece whether a pair encloses it, its own not counted."""
        nested = []
        depth = 0
        for kind in self.kinds:
            depth -= kind.endswith("_CLOSE")
            nested.append(depth > 0)
            depth += kind.endswith("_OPEN")
        return nested

    def _touches_edit(self, index: int) -> bool:
        """An edit ends before `index`, with no text in between."""
        index -= 1
        while index >= 0 and self.kinds[index] not in ("TEXT", "WHEN", "EDIT_CLOSE"):
            index -= 1
        return self._kind(index) == "EDIT_CLOSE"

    def _kind(self, index: int) -> str | None:
        return self.kinds[index] if 0 <= index < len(self.kinds) else None
