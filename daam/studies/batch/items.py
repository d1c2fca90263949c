"""What a batch generates: its items, and what each left behind. Plain data; knows no file and no model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from daam.errors import SettingError

LARGEST_SEED = 2**63
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}\Z")


@dataclass(frozen=True, slots=True)
class Item:
    """One generation.

    Attributes:
        id: name of its folder: letters, digits, `.`, `_` and `-`; at most 120, not beginning with a dot.
        data: what else its source knows of it, as JSON has it: the pair of nouns, the caption's picture.

    Raises:
        SettingError: the id is no name of a folder, the seed is out of range, or the prompt is empty.
    """

    id: str
    prompt: str
    seed: int
    negative: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _ID.match(self.id) or self.id.endswith("."):
            raise SettingError(
                f"id: expected at most 120 letters, digits, '.', '_' and '-', not beginning with '.' or '-', "
                f"got {self.id[:150]!r}"
            )
        if not self.prompt.strip():
            raise SettingError(f"item {self.id}: expected a prompt, got an empty one")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < LARGEST_SEED:
            raise SettingError(f"item {self.id}: seed: expected 0 to 2^63 - 1, got {self.seed!r}")

    def to_json(self) -> str:
        """One line; equal items give equal lines."""
        return json.dumps([self.id, self.prompt, self.seed, self.negative, self.data], sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Item:
        """What `to_json` gave."""
        return cls(*json.loads(line))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item.

    Attributes:
        seconds: of generating and writing.
        error: what went wrong, in one line; "" where the item is done.
        kind: type of the error; "WorkerDied" where the process ended, not the prompt.
    """

    id: str
    status: Literal["done", "failed"]
    seconds: float = 0.0
    error: str = ""
    kind: str = ""
