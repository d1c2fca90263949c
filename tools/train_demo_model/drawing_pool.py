"""Scenes drawn by several processes, in chunks with a seed each, so that their number changes nothing."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from .scenes import Scene, make_scene

CHUNK = 500
Chunk = TypeVar("Chunk")
Work = Callable[[random.Random, int], Chunk]
"""What is done with a state of chance and a number of scenes."""


class DrawingPool:
    """Begins to draw at once; results are waited for where they are taken."""

    def __init__(self, executor: ProcessPoolExecutor | None):
        self._executor = executor

    def begin(self, work: Work[Chunk], scenes: int, seed: int) -> Iterator[Chunk]:
        """Chunks in order, each made by `work` with the seed `seed/number`."""
        sizes = [min(CHUNK, scenes - start) for start in range(0, scenes, CHUNK)]
        if self._executor is None:
            return (work(random.Random(f"{seed}/{number}"), size) for number, size in enumerate(sizes))
        waiting: list[Future[Chunk]] = [
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


def _call(work: Work[Chunk], seed: str, scenes: int) -> Chunk:
    return work(random.Random(seed), scenes)


def scene_with_something_small(rng: random.Random, small_share: float) -> Scene:
    """A random scene; with this chance one that has a small object, which is drawn anew until it has."""
    wants_small = rng.random() < small_share
    while True:
        scene = make_scene(rng)
        if not wants_small or scene.plan.has_small:
            return scene
