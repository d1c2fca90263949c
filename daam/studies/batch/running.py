"""Brings a batch to its end: what is missing is made, what fails is noted, what is there is listed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daam.errors import SettingError
from daam.extras import need
from daam.studies.batch.folder import BatchFolder
from daam.studies.batch.items import Item, Outcome

MakeOutcomes = Callable[[Sequence[Item]], Generator[Outcome, None, None]]
"""Makes items, in any order and in any number of processes; an item without an outcome was lost."""
OnOutcome = Callable[[Outcome], None]
MOST_IN_VAIN = 3
"""How often in a row lost items are handed out and none of them comes back."""


@dataclass(frozen=True)
class Ending:
    """How a call ended.

    Attributes:
        made: items that were done in this call.
        counts: of all items of the plan: "done", "failed", "missing".
        why_stopped: in a sentence; None where every item was handed out.
    """

    made: int
    counts: Mapping[str, int]
    why_stopped: str | None = None
    is_interrupted: bool = False


def missing_items(folder: BatchFolder, items: Sequence[Item], *, retry_failed: bool) -> list[Item]:
    """The items that are neither done nor failed, in the plan's order.

    Args:
        retry_failed: those that failed too; they are taken out of `errors.jsonl`.
    """
    done, failed = folder.done(), folder.failed()
    if retry_failed:
        folder.forget_errors(failed)
        failed = {}
    return [item for item in items if item.id not in done and item.id not in failed]


def run_batch(
    folder: BatchFolder,
    items: Sequence[Item],
    missing: Sequence[Item],
    make_outcomes: MakeOutcomes,
    *,
    max_failures: int = 0,
    on_outcome: OnOutcome = lambda outcome: None,
) -> Ending:
    """Makes the missing items, writes errors and index.

    Planned and made are compared: items that are neither done nor failed are handed out again, and noted as failed
    where that is in vain three times.

    Args:
        items: of the whole plan.
        max_failures: so many failed items of this call end it; 0 is any number.

    Raises:
        SettingError: pyarrow is not installed.
        DaamError: the model cannot be loaded.
    """
    need("pyarrow.parquet", "daam batch")
    seconds: dict[str, float] = {}
    failures, why_stopped, is_interrupted = 0, None, False
    left = list(missing)
    try:
        with terminated_as_interrupted():
            in_vain = 0
            while left and in_vain < MOST_IN_VAIN and why_stopped is None:
                seen = set()
                with contextlib.closing(make_outcomes(left)) as outcomes:
                    for outcome in outcomes:
                        seen.add(outcome.id)
                        if outcome.status == "failed":
                            failures += 1
                            folder.add_error(outcome)
                        elif outcome.seconds:
                            seconds[outcome.id] = outcome.seconds
                        on_outcome(outcome)
                        if max_failures and failures >= max_failures:
                            why_stopped = f"{failures} items failed, which is what --max-failures allows"
                            break
                before = len(left)
                left = [item for item in left if item.id not in seen and not folder.is_done(item.id)]
                in_vain = in_vain + 1 if len(left) == before else 0
            for item in left if why_stopped is None else ():
                lost = Outcome(item.id, "failed", 0.0, f"it was handed out {in_vain} times and never came back", "Lost")
                folder.add_error(lost)
                on_outcome(lost)
    except KeyboardInterrupt:
        why_stopped, is_interrupted = "interrupted", True
        folder.end_all()
    counts = folder.write_index(items, seconds)
    return Ending(len(seconds), counts, why_stopped, is_interrupted)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """A cluster's SIGTERM ends a batch as Ctrl-C does; other threads than the first leave it alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_limits(max_failures: int, workers: int) -> None:
    """
    Raises:
        SettingError: a number is too small.
    """
    if max_failures < 0:
        raise SettingError(f"max failures: expected 0 or more, got {max_failures}")
    if workers < 1:
        raise SettingError(f"workers: expected at least 1, or auto, got {workers}")
