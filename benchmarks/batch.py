"""Measures what `daam batch` costs beside the model: start-up, rate by workers, memory of each, disk, resuming.

    python -m benchmarks.batch --workers 1 2 --items 40
    python -m benchmarks.batch --resume 100000

Each batch is the command itself, as a process of its own, on the embedded model. The rate is that of the items after
the first few, which is what counts in a long run; start-up is everything before the first item is done.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.machine import machine
from daam.studies.batch.folder import RECORD
from tools.train_demo_model.held_out import make_captions

WARM = 4
"""Items that are not counted in the rate."""
MIB = 2**20


def command(prompts: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "daam.cli.main", "batch", "--prompts", str(prompts), "-o", str(folder), *more]


def done(folder: Path) -> list[float]:
    """When each record was put in its place."""
    return sorted(path.stat().st_mtime for path in folder.glob(f"items/*/{RECORD}"))


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes that hold a model: Ray's actors, or the loop itself."""
    family = [process, *process.children(recursive=True)]
    actors = [each for each in family if "_Worker" in " ".join(each.cmdline())]
    return actors or [process]


def measure(workers: int, prompts: Path, folder: Path, steps: int) -> str:
    """A row of the table."""
    arguments = command(prompts, folder, "--steps", str(steps), "--workers", str(workers), "--threads", "1")
    started = time.time()
    peaks: dict[int, int] = {}
    spent: dict[int, float] = {}
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        process = psutil.Process(run.pid)
        while run.poll() is None:
            try:
                for each in [process, *process.children(recursive=True)]:
                    spent[each.pid] = sum(each.cpu_times()[:2])
                for each in workers_of(process):
                    peaks[each.pid] = max(peaks.get(each.pid, 0), each.memory_info().rss)
            except psutil.Error:
                pass
            time.sleep(0.5)
    times = done(folder)
    rate = (len(times) - 1 - WARM) / (times[-1] - times[WARM])
    memory = sorted(peaks.values())[-workers:]
    return (
        f"{workers:7}  {times[0] - started:11.1f}  {3600 * rate:11.0f}  {1 / rate:13.2f}  "
        f"{sum(spent.values()) / len(times):12.2f}  {sum(memory) / len(memory) / MIB:15.0f}"
    )


def children_seconds() -> float:
    """Processor time of all processes that were started and have ended: it does not mind what else the machine does."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def disk(folder: Path) -> tuple[float, float]:
    """MiB of 1,000 items: by their length, and as the file system stores them."""
    places = list((folder / "items").iterdir())
    stats = [path.stat() for place in places for path in (place, *place.iterdir())]
    lengths, blocks = sum(each.st_size for each in stats), sum(each.st_blocks * 512 for each in stats)
    return 1000 * lengths / len(places) / MIB, 1000 * blocks / len(places) / MIB


def measure_rates(workers: list[int], items: int, steps: int) -> None:
    print("workers  start-up, s  an hour      s for an item  processor, s  MiB in a worker")
    with tempfile.TemporaryDirectory() as name:
        prompts = Path(name) / "prompts.txt"
        prompts.write_text("\n".join(caption.text for caption in make_captions(items)) + "\n")
        for count in workers:
            print(measure(count, prompts, Path(name) / f"out-{count}", steps), flush=True)
        lengths, blocks = disk(Path(name) / f"out-{workers[0]}")
        print(f"\n1,000 items: {lengths:.0f} MiB of files, {blocks:.0f} MiB on this file system")


def measure_resume(items: int) -> None:
    """A folder in which all items but one are done already, with empty records: they are looked for, not read."""
    with tempfile.TemporaryDirectory() as name:
        prompts, folder = Path(name) / "prompts.txt", Path(name) / "out"
        prompts.write_text("".join(f"a red circle, number {number}\n" for number in range(items)))
        begin = [*command(prompts, folder, "--steps", "1", "--max-failures", "1")]
        with subprocess.Popen(begin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while not done(folder):
                time.sleep(0.2)
            run.terminate()
        for number in range(1, items + 1):
            place = folder / "items" / f"{number:0{max(6, len(str(items)))}}"
            place.mkdir(exist_ok=True)
            (place / RECORD).touch()
        (place / RECORD).unlink()
        os.sync()
        started, processor = time.perf_counter(), children_seconds()
        with subprocess.Popen(begin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            usage, peak = psutil.Process(run.pid), 0
            first = None
            while run.poll() is None:
                peak = max(peak, usage.memory_info().rss)
                if first is None and (place / RECORD).exists():
                    first = time.perf_counter() - started
                time.sleep(0.05)
        whole, processor = time.perf_counter() - started, children_seconds() - processor
    shown = "-" if first is None else f"{first:.1f}"
    print(f"{items} items: the missing one is there after {shown} s, the call ends after {whole:.1f} s "
          f"({processor:.1f} s of processor time); "
          f"{peak / MIB:.0f} MiB at the peak")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--resume", type=int, metavar="ITEMS", help="measure this instead")
    options = parser.parse_args()
    print(machine())
    if options.resume:
        measure_resume(options.resume)
    else:
        measure_rates(options.workers, options.items, options.steps)


if __name__ == "__main__":
    main()
