"""The last finished results, by a random id, for the API's route and the viewer. Bounded; forgets the oldest."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from threading import Lock

from daam.results.result import Result

MOST_BYTES = 256 * 1024 * 1024
"""Of the maps and pictures of all results together; the newest stays however large it is."""


class ResultStore:
    """Safe to use from several threads: the WebUI answers requests while it generates."""

    def __init__(self, most_results: int = 64) -> None:
        self.most_results = most_results
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._lock = Lock()

    def add(self, result: Result) -> str:
        """Keeps a result and gives its id."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._results[name] = result
            while len(self._results) > self.most_results:
                self._results.popitem(last=False)
            while len(self._results) > 1 and sum(kept.size for kept in self._results.values()) > MOST_BYTES:
                self._results.popitem(last=False)
        return name

    def get(self, name: str) -> Result | None:
        """The result of that id, while it is kept."""
        with self._lock:
            return self._results.get(name)


store = ResultStore()
