"""Folders and files that are whole or not there: written beside their place, then renamed. Knows no picture."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType

from daam.errors import SettingError, describe
from daam.results.whole_files import PARTIAL, whole_file

PROBE_BYTES = 256 * 1024
"""Room that must be there before anything is generated."""


class NewFolder:
    """A folder that gets its name when `finish` is called; where that never happens nothing is left of it.

    It is made, and a file in it tried, when the context is entered: what cannot be written is known before the work.

    Attributes:
        draft: where its files are written meanwhile.
        place: where they will be.
    """

    def __init__(self, parent: Path, name: str):
        """Args: name: another one is found where it is taken."""
        self._parent = parent
        self._name = name
        self._made_parents: list[Path] = []
        self.draft = self.place = parent

    def __enter__(self) -> NewFolder:
        """
        Raises:
            SettingError: it cannot be made or written to.
        """
        try:
            self._make()
            (self.draft / "probe").write_bytes(bytes(PROBE_BYTES))
            (self.draft / "probe").unlink()
        except OSError as error:
            self.discard()
            raise SettingError(
                f"out: expected a folder that can be written to, got {self._parent}: {reason_of(error)}"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    def finish(self) -> Path:
        """Gives the folder its name; returns its path."""
        for place in self._places():
            if not place.exists():
                self.draft.rename(place)
                self.draft, self.place, self._made_parents = self._parent, place, []
                return place
        raise AssertionError("the names never end")

    def discard(self) -> None:
        """Takes away the draft, and what was made for it."""
        if self.draft != self._parent:
            shutil.rmtree(self.draft, ignore_errors=True)
            self.draft = self._parent
        while self._made_parents:
            with contextlib.suppress(OSError):
                self._made_parents.pop().rmdir()

    def _make(self) -> None:
        missing = [folder for folder in (self._parent, *self._parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made_parents.append(folder)
        for place in self._places():
            draft = place.with_name(place.name + PARTIAL)
            if place.exists():
                continue
            with contextlib.suppress(FileExistsError):
                draft.mkdir()
                self.draft, self.place = draft, place
                return

    def _places(self) -> Iterator[Path]:
        """The name, then with -2, -3 and so on where it is taken."""
        yield self._parent / self._name
        for number in range(2, 10**9):
            yield self._parent / f"{self._name}-{number}"


def name_of_now(seed: int) -> str:
    """The name of a result that begins now."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{seed}"


def write_file(path: Path, text: str) -> None:
    """Writes a text so that the file is whole; one that was there stays till then. Raises OSError."""
    with whole_file(path) as draft:
        draft.write_text(text, "utf-8")


def reason_of(error: BaseException) -> str:
    """Why something could not be written, in the words of the system or in ours."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return describe(error)
