"""Turns terms into file names that are safe on Linux, macOS and Windows. Knows nothing of pictures or folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

from daam.errors import SettingError

LONGEST_NAME = 80
"""Characters of a name, with its suffix."""
MOST_BYTES = 200
"""Bytes of a name in UTF-8, with its suffix; most file systems end at 255."""
_LONGEST_SUFFIX = 24
_FORBIDDEN = '<>:"/\\|?*'
_WINDOWS_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE)


def safe_file_names(terms: Sequence[str], *, suffix: str = ".png", reserved: Collection[str] = ()) -> list[str]:
    """One name for each term, in order, all distinct even where capitals and small letters are one.

    Letters of every script stay. What a file system may not take becomes `_`; of terms that would share a name,
    the first keeps it and the others end in `-2`, `-3` and so on. The same terms always give the same names.

    Args:
        terms: any strings.
        suffix: what every name ends in, `.png` or `_mask.png`; at most 24 ASCII letters, digits, `.`, `_`, `-`.
        reserved: whole file names that must not be given, such as `grid.png`.

    Returns:
        Names of at most 80 characters and 200 bytes in UTF-8, NFC, without a folder.

    Raises:
        SettingError: the suffix has other characters, is too long, or ends in a dot.
    """
    _check_suffix(suffix)
    taken = {_same_file(name) for name in reserved}
    counts: dict[str, int] = {}
    names = []
    for term in terms:
        stem = _stem(term)
        name = _shortened(stem, suffix)
        first_key = _same_file(name)
        while _same_file(name) in taken:
            counts[first_key] = counts.get(first_key, 1) + 1
            name = _shortened(stem, f"-{counts[first_key]}{suffix}")
        taken.add(_same_file(name))
        names.append(name)
    return names


def safe_file_name(term: str, *, suffix: str = ".png") -> str:
    """The name that one term has by itself: `../../x` is `x.png`, `CON` is `_CON.png`. Raises SettingError."""
    return safe_file_names([term], suffix=suffix)[0]


def _check_suffix(suffix: str) -> None:
    if len(suffix) > _LONGEST_SUFFIX or suffix.endswith(".") or not re.fullmatch(r"[A-Za-z0-9._-]*", suffix):
        raise SettingError(
            f"expected a suffix such as '.png' of at most {_LONGEST_SUFFIX} plain characters, got {suffix!r}"
        )


def _stem(term: str) -> str:
    """The term without what is unsafe, of any length; never empty."""
    text = unicodedata.normalize("NFC", "".join(map(_replacement, term)))
    text = re.sub(r" {2,}", " ", re.sub(r"_{2,}", "_", re.sub(r"\.{2,}", ".", text)))
    text = text.lstrip(" ._-~").rstrip(" .")
    if not text:
        return "term"
    first_part = text.split(".")[0].rstrip()
    return f"_{text}" if _WINDOWS_DEVICE.fullmatch(first_part) else text


def _replacement(character: str) -> str:
    """Invisible marks go; blanks become plain ones; control characters, surrogates and the forbidden become `_`."""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if character.isspace() and category != "Cc":
        return " "
    return "_" if category.startswith("C") or character in _FORBIDDEN else character


def _shortened(stem: str, ending: str) -> str:
    """The stem cut so that with its ending it is within both limits, then the ending."""
    stem = stem[: LONGEST_NAME - len(ending)]
    room = MOST_BYTES - len(ending.encode())
    while len(stem.encode()) > room:
        stem = stem[:-1]
    return stem.rstrip(" .") + ending


def _same_file(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
