"""Tells whether tensors are still those that something was made of. Knows no model."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor

from daam.tracing.plan import version_of


class Unchanged:
    """Remembers some tensors, without keeping them, and how often each was written to."""

    __slots__ = ("_seen",)

    def __init__(self, tensors: Sequence[Tensor]):
        self._seen = [(weakref.ref(tensor), version_of(tensor)) for tensor in tensors]

    def is_of(self, tensors: Sequence[Tensor] | None) -> bool:
        """Whether these are the same, and nothing was written to them; never for none, and in inference mode."""
        if not tensors or len(tensors) != len(self._seen):
            return False
        try:
            for (ref, version), now in zip(self._seen, tensors):  # in each layer of each call: no generator
                if ref() is not now or now._version != version:
                    return False
        except RuntimeError:  # inference mode counts nothing
            return False
        return True
