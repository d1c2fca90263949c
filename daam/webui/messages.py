"""How the page says what went wrong: sentences with a capital, without folders of the server. Knows no WebUI."""

from __future__ import annotations

from daam.errors import describe


def sentence(text: str) -> str:
    """The text with a capital at its beginning; a quoted word at its beginning stays as it was typed."""
    return text[:1].upper() + text[1:]


def told(error: BaseException) -> str:
    """What an error says, without a capital, to whoever looks at the page; of a file's error its folder is left out."""
    if isinstance(error, OSError):
        return error.strerror or "the file cannot be read or written"
    return describe(error)
