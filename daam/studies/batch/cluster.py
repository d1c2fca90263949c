"""Makes items in several processes with Ray Data, on this machine or on a cluster. Knows no model.

One actor for each GPU loads the model once. Rows carry an item's text and come back with its outcome; pictures and
records go from the actor straight into the batch's folder, which all machines must share.

What Ray does with a process that died, and what is done about it here:

- it gives the row to another one, for ever: an item that was begun three times is not begun again (`work.do_item`);
- it drops rows in silence where errors are allowed: what was planned is compared with what came back (`running`);
- it waits for ever for an actor whose machine is gone where no other has room: after a while the connection is given
  up, and the rest is handed out anew to what is left.
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import queue
import secrets
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from daam.errors import DaamError, ModelError, SettingError, describe
from daam.extras import need
from daam.studies.batch.folder import BatchFolder
from daam.studies.batch.items import Item, Outcome
from daam.studies.batch.work import MakeGenerate, do_item

MOST_BLOCKS = 20_000
"""Blocks are what the driver keeps in mind; a longer plan has several rows in each."""
POLL_SECONDS = 1.0
NOT_LOADED = "NotLoaded"
"""Kind of the outcome of a worker whose model cannot be loaded: that ends the batch, and fails no item."""
END_SECONDS = 30.0
"""So long Ray has to end its processes in order."""
ANSWER_SECONDS = 10.0
"""So long a cluster has to take a connection."""
PATIENCE_SECONDS = 30.0
"""So long nothing may come back after a machine was lost, before the rest is handed out anew."""
USE = "daam batch with several workers"


@dataclass(frozen=True)
class Workers:
    """Which processes make a batch.

    Attributes:
        count: None takes one for each GPU, or one for each machine where there is none.
        gpus: for each worker; None is 1 where there are any. A fraction lets several share one.
        address: of a running cluster, "auto" finds it; None starts one on this machine.
        patience: seconds without an outcome after a machine was lost.
    """

    count: int | None = None
    gpus: float | None = None
    address: str | None = None
    patience: float = PATIENCE_SECONDS


class Cluster:
    """Hands items out to Ray's actors; call it with the items that are left, as often as needed.

    Ray runs in a process of its own: when it waits for what never comes, that process is ended, and nothing of it
    stays.
    """

    def __init__(self, folder: BatchFolder, make_generate: MakeGenerate, workers: Workers):
        """
        Raises:
            SettingError: Ray is not installed.
        """
        need("ray.data", USE)
        self._folder, self._make_generate, self._workers = folder.path.resolve(), make_generate, workers
        self._is_again = False

    def __call__(self, items: Sequence[Item]) -> Generator[Outcome, None, None]:
        """Each item's outcome, as they come; those that were on a machine that was lost may not come.

        Raises:
            SettingError: the cluster has not the room that is asked for, or a machine does not see the folder.
            ModelError: the model cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        job = _Job(self._folder, self._make_generate, self._workers, [item.to_json() for item in items], self._is_again)
        held, holder = context.Pipe(duplex=False)  # it ends when `holder` is closed, or this process is gone
        process = context.Process(target=_drive, args=(sender, job, held), daemon=False)
        process.start()
        sender.close()
        held.close()
        self._is_again = True
        try:
            while True:
                try:
                    message = receiver.recv()
                except EOFError:
                    raise ModelError("the process that speaks to Ray ended; call it again to go on") from None
                if isinstance(message, Outcome):
                    yield message
                    continue
                process.join(END_SECONDS)  # it ends Ray in order
                if message is None:
                    return
                raise message
        finally:
            holder.close()
            process.join(END_SECONDS)
            process.kill()


@dataclass(frozen=True)
class _Job:
    """What the process that speaks to Ray gets. Attributes: is_again: fewer workers than asked for will do."""

    folder: Path
    make_generate: MakeGenerate
    workers: Workers
    items: Sequence[str]
    is_again: bool


def _drive(sender: Any, job: _Job, held: Any) -> None:
    """Sends every outcome, then None; or the error that ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that is asked, which ends this one
    threading.Thread(target=_end_when_let_go, args=(held,), daemon=True).start()
    driver = _Driver(job)
    try:
        for outcome in driver.outcomes():
            sender.send(outcome)
        sender.send(None)
    except DaamError as error:
        sender.send(error)
    except Exception as error:  # whatever Ray raises
        sender.send(_told(error))
    finally:
        sender.close()
        if not driver.is_stuck:
            driver.close()
        os._exit(0)  # Ray's threads may wait for what never comes


def _end_when_let_go(held: Any) -> None:
    """Ends this process at once, and with it what Ray started, when nobody holds the other end of a pipe any more."""
    with contextlib.suppress(EOFError, OSError):
        held.recv()
    os._exit(1)


class _Driver:
    """The side that speaks to Ray. Attributes: is_stuck: it gave up waiting."""

    def __init__(self, job: _Job):
        self._ray, self._data = need("ray", USE), need("ray.data", USE)
        self._folder, self._make_generate, self._workers = job.folder, job.make_generate, job.workers
        self._items, self._is_again = job.items, job.is_again
        self.is_stuck = False

    def outcomes(self) -> Iterator[Outcome]:
        self._connect()
        nodes = self._nodes()
        count, gpus, cpus = self._room(nodes)
        self._check_folder(nodes)
        found: queue.Queue[Outcome | BaseException | None] = queue.Queue()
        dataset = self._dataset(count, gpus, cpus)
        threading.Thread(target=_drain, args=(dataset, found), daemon=True).start()
        yield from self._wait(found, nodes)

    def close(self) -> None:
        self._ray.shutdown()

    def _wait(self, found: queue.Queue[Outcome | BaseException | None], nodes: Sequence[str]) -> Iterator[Outcome]:
        last = time.monotonic()
        while True:
            try:
                outcome = found.get(timeout=POLL_SECONDS)
            except queue.Empty:
                is_late = time.monotonic() - last > self._workers.patience
                if is_late and not set(nodes) <= set(self._nodes()):
                    self.is_stuck = True
                    return
                continue
            if outcome is None:
                return
            if isinstance(outcome, BaseException):
                raise outcome
            last = time.monotonic()
            yield outcome

    def _connect(self) -> None:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self._workers.address is not None:
                _ask(self._workers.address)
                self._ray.init(address=self._workers.address, **quiet)
                return
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own is 15, and the workers are all the work
            cpus = max(os.cpu_count() or 1, self._workers.count or 1)
            self._ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise SettingError(f"ray address: {self._workers.address or 'a cluster here'}: {reason}") from error

    def _nodes(self) -> list[str]:
        return [node["NodeID"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self, nodes: Sequence[str]) -> tuple[int, float, float]:
        """How many workers there will be, and GPUs and CPUs for each."""
        there: Mapping[str, float] = self._ray.cluster_resources()
        gpus = self._workers.gpus
        if gpus is None:
            gpus = 1.0 if there.get("GPU") else 0.0
        count = self._workers.count or int(there.get("GPU", 0) / gpus if gpus else len(nodes)) or 1
        fitting = int(there.get("GPU", 0) / gpus) if gpus else int(there.get("CPU", 0))
        if fitting < count and not (self._is_again and fitting):
            raise SettingError(
                f"workers: expected room for {count} with {gpus or 1:g} {'GPU' if gpus else 'CPU'} each, "
                f"the cluster has it for {fitting}"
            )
        count = min(count, fitting)
        return count, gpus, 1.0 if gpus else self._cpus(count)

    def _cpus(self, count: int) -> float:
        """CPUs for each of so many workers, so that they fit on machines of which each has what the smallest has."""
        sizes = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        useful = [size for size in sizes if size >= 1]
        return float(max(1, min(useful) // math.ceil(count / len(useful))))

    def _check_folder(self, nodes: Sequence[str]) -> None:
        """Every machine reads a word that was written here, and writes one back.

        Raises:
            SettingError: one does not.
        """
        probe, word = self._folder / f".probe-{secrets.token_hex(4)}", secrets.token_hex(8)
        probe.write_text(word)
        affinity = need("ray.util.scheduling_strategies", USE).NodeAffinitySchedulingStrategy
        try:
            asked = {
                node: self._ray.remote(_look).options(
                    num_cpus=0, scheduling_strategy=affinity(node_id=node, soft=False), max_retries=1
                ).remote(str(probe), word, node)
                for node in nodes
            }  # fmt: skip
            for node, reference in asked.items():
                host = self._ray.get(reference, timeout=120)
                answer = probe.with_name(f"{probe.name}-{node}")
                if host is not None or not answer.exists():
                    raise SettingError(
                        f"out: expected a folder that every machine of the cluster shares, {host or node} does not see "
                        f"{self._folder} as this one does"
                    )
        finally:
            for path in self._folder.glob(f"{probe.name}*"):
                path.unlink()

    def _dataset(self, count: int, gpus: float, cpus: float) -> Any:
        context = self._data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # the driver compares what was planned with what came
        rows = [{"item": item} for item in self._items]
        return self._data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map_batches(
            _Worker,
            fn_constructor_args=(str(self._folder), self._make_generate),
            batch_size=1,
            compute=self._data.ActorPoolStrategy(size=count),
            num_gpus=gpus or None,
            num_cpus=cpus,
        )


class _Worker:
    """One process of Ray's with a loaded model."""

    def __init__(self, folder: str, make_generate: MakeGenerate):
        self._folder, self._fault = BatchFolder(Path(folder)), ""
        try:
            self._generate = make_generate()
        except Exception as error:  # raised here, Ray would make one actor after another
            self._fault = describe(error)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        outcomes = [self._outcome(Item.from_json(line)) for line in batch["item"]]
        names = ("id", "status", "seconds", "error", "kind")
        return {name: np.array([getattr(outcome, name) for outcome in outcomes]) for name in names}

    def _outcome(self, item: Item) -> Outcome:
        if self._fault:
            return Outcome(item.id, "failed", 0.0, self._fault, NOT_LOADED)
        return do_item(self._folder, item, self._generate)


def _drain(dataset: Any, found: queue.Queue[Outcome | BaseException | None]) -> None:
    """Puts every outcome into the queue, then None, or what went wrong."""
    try:
        for row in dataset.iter_rows():
            if row["kind"] == NOT_LOADED:
                found.put(ModelError(row["error"]))
                return
            found.put(Outcome(row["id"], row["status"], float(row["seconds"]), row["error"], row["kind"]))
        found.put(None)
    except BaseException as error:  # it is raised where the queue is read
        found.put(error)


def _ask(address: str) -> None:
    """Whether something listens there: Ray itself would ask for many minutes.

    Raises:
        OSError, ValueError: nothing does, or it is no address.
    """
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if separator:  # "auto" has none
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS):
            pass


def _look(probe: str, word: str, node: str) -> str | None:
    """On another machine: answers beside the probe; the machine's name where the probe is not there."""
    import platform

    path = Path(probe)
    if not path.is_file() or path.read_text() != word:
        return platform.node() or node
    path.with_name(f"{path.name}-{node}").write_text(word)
    return None


def _told(error: BaseException) -> DaamError:
    """What Ray raises, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ModelError(f"Ray's workers failed: {lines[-1] if lines else repr(error)}")
