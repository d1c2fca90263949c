"""Modules of a host that are not here, and our own that import them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def modules_in_place(fakes: Mapping[str, ModuleType], ours: Sequence[str]) -> Iterator[None]:
    """While it lasts, the fakes are imported under their names, and our modules anew, with them."""
    names = (*fakes, *ours)
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(fakes)
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)
