"""Scenes drawn by several processes, in chunks with a seed each, so that their number changes nothing."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

CHUNK = 500
Drawn = TypeVar("Drawn")
Work = Callable[[random.Random, int], Drawn]
"""What is done with a state of chance and a number of scenes."""


class DrawingPool:
    """Begins to draw at once; results are waited for where they are taken."""

    def __init__(self, executor: ProcessPoolExecutor | None):
        self._executor = executor

    def begin(self, work: Work[Drawn], scenes: int, seed: int) -> Iterator[Drawn]:
        """Chunks in order, each made by `work` with the seed `seed/number`."""
        sizes = [min(CHUNK, scenes - start) for start in range(0, scenes, CHUNK)]
        if self._executor is None:
            return (work(random.Random(f"{seed}/{number}"), size) for number, size in enumerate(sizes))
        waiting: list[Future[Drawn]] = [
            self._executor.submit(_call, work, f"{seed}/{number}", size) for number, size in enumerate(sizes)
        ]
        waiting.reverse()
        return (waiting.pop().result() for _ in sizes)  # a chunk that is taken is not kept


@contextmanager
def drawing_pool(processes: int) -> Iterator[DrawingPool]:
    """So many processes; with one, everything is drawn in this one, when it is taken."""
    if processes < 2:
        yield DrawingPool(None)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
        yield DrawingPool(executor)


def _call(work: Work[Drawn], seed: str, scenes: int) -> Drawn:
    return work(random.Random(seed), scenes)
