"""Files that are whole or not there: written beside their place, then renamed. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"
"""Ends the name of what is being written; it stays only where the program was killed."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives the place to write to; the file gets its own name at the end, and nothing is left where that fails.

    Raises:
        OSError: it cannot be renamed.
    """
    draft = path.with_name(f".{path.name[:200]}{PARTIAL}")
    try:
        yield draft
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
