"""The last finished results, by a random id, for the API's route and the viewer. Bounded; forgets the oldest."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from daam.results.result import Result

MOST_BYTES = 256 * 1024 * 1024
"""Of the maps and pictures of all results together; the newest stays however large it is."""


class ResultStore:
    """Safe to use from several threads: the WebUI answers requests while it generates."""

    def __init__(self, most_results: int = 64) -> None:
        self.most_results = most_results
        self._results: OrderedDict[str, tuple[Result, tuple[str, ...]]] = OrderedDict()
        self._lock = Lock()

    def add(self, result: Result, infotexts: Sequence[str] = ()) -> str:
        """Keeps a result and gives its id.

        Args:
            infotexts: of its pictures, by which they are known where another script shows them, as X/Y/Z plot does.
        """
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._results[name] = result, tuple(infotexts)
            while len(self._results) > self.most_results:
                self._results.popitem(last=False)
            while len(self._results) > 1 and sum(kept.size for kept, _ in self._results.values()) > MOST_BYTES:
                self._results.popitem(last=False)
        return name

    def get(self, name: str) -> Result | None:
        """The result of that id, while it is kept."""
        with self._lock:
            return self._results.get(name, (None, ()))[0]

    def find(self, name: str, image: int, infotext: str) -> tuple[str, int] | None:
        """The id and the number of a picture: of the latest one that has this infotext, else of the result `name`."""
        with self._lock:
            own = self._results.get(name)
            if own is not None and infotext in own[1][image : image + 1]:
                return name, image
            for other in reversed(self._results):
                if infotext and infotext in self._results[other][1]:
                    return other, self._results[other][1].index(infotext)
            return (name, image) if own is not None and 0 <= image < len(own[0].pictures) else None


store = ResultStore()
