"""Makes items one after another, in this process. Knows no model: whoever calls says how an item is generated."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable

from daam.errors import DaamError, describe
from daam.results.result import Result
from daam.studies.batch.folder import BatchFolder
from daam.studies.batch.items import Item, Outcome

Generate = Callable[[Item], Result]
"""Generates one item; the first picture of the result is the item's."""
MakeGenerate = Callable[[], Generate]
"""Loads the model; called once in each process, so that it must be picklable where there are several."""
MOST_BEGUN = 3
"""How often an item is begun whose worker, or the whole program, ended in its midst."""


def do_item(folder: BatchFolder, item: Item, generate: Generate) -> Outcome:
    """Generates and writes an item; what goes wrong is in the outcome.

    An item that is there already is left as it is. One that was begun three times and was never finished is what
    ended the process, and is not begun again.
    """
    if folder.is_done(item.id):
        folder.end(item.id)
        return Outcome(item.id, "done")
    begun = folder.start(item.id)
    if begun >= MOST_BEGUN:
        folder.end(item.id)
        return Outcome(item.id, "failed", 0.0, f"its worker died {begun} times while it was being made", "WorkerDied")
    started = time.perf_counter()
    try:
        result = generate(item)
        if result.fault is not None:
            return _failed(folder, item, started, result.fault, "TraceError")
        folder.write(item, result)
    except (KeyboardInterrupt, SystemExit):
        folder.end(item.id)
        raise
    except Exception as error:  # whatever a model raises: the other items go on
        text = describe(error).strip() or type(error).__name__
        kind = type(error).__name__
        return _failed(folder, item, started, text if isinstance(error, DaamError) else text.split("\n")[0], kind)
    folder.end(item.id)
    return Outcome(item.id, "done", time.perf_counter() - started)


def _failed(folder: BatchFolder, item: Item, started: float, error: str, kind: str) -> Outcome:
    folder.end(item.id)
    return Outcome(item.id, "failed", time.perf_counter() - started, error, kind)


def do_in_turn(
    folder: BatchFolder, items: Iterable[Item], make_generate: MakeGenerate
) -> Generator[Outcome, None, None]:
    """Each item's outcome, as it is made; the model is loaded before the first.

    Raises:
        DaamError: the model cannot be loaded.
    """
    generate = make_generate()
    for item in items:
        yield do_item(folder, item, generate)
