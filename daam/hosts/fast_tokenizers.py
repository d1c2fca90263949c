"""Tokenizers of transformers that say where their tokens stand, beside those that a host has loaded and that do not."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from transformers import AutoTokenizer

from daam.errors import TraceError


def with_places(tokenizer: Any) -> Any:
    """A fast tokenizer: the given one, or that of the folder it came from. Whether both cut alike is not looked at.

    Raises:
        TraceError: there is none.
    """
    if getattr(tokenizer, "is_fast", False):
        return tokenizer
    found = _of_folder(str(getattr(tokenizer, "name_or_path", "")))
    if found is None:
        raise TraceError("the checkpoint's tokenizer does not say where its tokens stand in the prompt")
    return found


@lru_cache(maxsize=1)
def _of_folder(folder: str) -> Any | None:
    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):
        return None
    return found if found.is_fast else None
