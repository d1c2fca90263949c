"""Tells whether tensors are still those that something was made of. Knows no model."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Sequence

from torch import Tensor

from daam.tracing.plan import version_of

VERSION = operator.attrgetter("_version")
"""How often a tensor was written to. In inference mode nobody counts, and it raises RuntimeError."""


class Unchanged:
    """Remembers some tensors, without keeping them, and how often each was written to."""

    __slots__ = ("_refs", "_versions")

    def __init__(self, tensors: Sequence[Tensor]):
        self._refs = [weakref.ref(tensor) for tensor in tensors]
        self._versions = [version_of(tensor) for tensor in tensors]

    def extended(self, tensors: Sequence[Tensor]) -> Unchanged:
        """Remembers these too, as they are now, behind those that it remembers as they were."""
        found, more = Unchanged(()), Unchanged(tensors)
        found._refs, found._versions = self._refs + more._refs, self._versions + more._versions
        return found

    def is_of(self, tensors: Sequence[Tensor] | None) -> bool:
        """Whether these are the same, and nothing was written to them; never for none, and in inference mode."""
        if not tensors or len(tensors) != len(self._refs):
            return False
        are_same = map(operator.is_, tensors, [ref() for ref in self._refs])  # in each call: no loop of Python's own
        try:
            return all(are_same) and list(map(VERSION, tensors)) == self._versions
        except RuntimeError:  # inference mode counts nothing
            return False
