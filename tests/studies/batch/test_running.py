"""A batch in one process: what it leaves, what a second call does, faults and interruptions."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from daam.errors import SettingError
from daam.results.record import load_record
from daam.studies.batch.folder import BatchFolder
from daam.studies.batch.items import Item, Outcome
from daam.studies.batch.plan import Plan
from daam.studies.batch.running import Ending, missing_items, run_batch
from daam.studies.batch.work import MOST_BEGUN, Generate, do_in_turn
from tests.studies.batch.fakes import Fake, items

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
SETTINGS = {"steps": 20, "model": "embedded"}
SOURCE = {"prompts": "p.txt", "limit": None}


class Batch:
    """A batch of the given prompts in a folder of its own."""

    def __init__(self, folder: Path, *prompts: str):
        self.items = items(*prompts)
        self.log = folder / "log"
        self.log.mkdir(exist_ok=True)
        self.folder = BatchFolder(folder / "out")

    def begin(self, **settings: Any) -> list[str]:
        return self.folder.begin(Plan(self.items, {**SETTINGS, **settings}, SOURCE), {"torch": "2"}, "now")

    def run(self, *, retry_failed: bool = False, make: Callable[[], Generate] | None = None, **how: Any) -> Ending:
        missing = missing_items(self.folder, self.items, retry_failed=retry_failed)
        make = make or Fake(self.log)
        return run_batch(self.folder, self.items, missing, lambda left: do_in_turn(self.folder, left, make), **how)

    def begun(self) -> dict[str, int]:
        return {path.name: len(path.read_text().split()) for path in self.log.iterdir()}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Batch]:
    def make_batch(*prompts: str) -> Batch:
        batch = Batch(tmp_path, *prompts)
        batch.begin()
        return batch

    return make_batch


def whole(folder: Path) -> bool:
    """Nothing half-written lies about, and what has a record has the rest too."""
    assert not list(folder.rglob("*.partial"))
    for record in folder.glob("items/*/record.safetensors"):
        load_record(record)
        assert {"output.png", "prompt.txt", "seed.txt"} <= {path.name for path in record.parent.iterdir()}
    return not list((folder / "started").iterdir())


def test_every_item_has_its_files_and_its_row_in_the_index(make: Any) -> None:
    batch = make("a cat", "a dog")
    ending = batch.run()
    assert ending == Ending(2, {"done": 2, "failed": 0, "missing": 0})
    place = batch.folder.path / "items" / "001"
    assert (place / "prompt.txt").read_text() == "a dog\n" and (place / "seed.txt").read_text() == "1\n"
    assert load_record(place / "record.safetensors").notes.prompt == "a dog"
    rows = parquet.read_table(batch.folder.path / "index.parquet").to_pylist()
    assert [(row["id"], row["seed"], row["status"], row["error"]) for row in rows] == [
        ("000", 0, "done", None), ("001", 1, "done", None),
    ]  # fmt: skip
    assert all(row["seconds"] > 0 for row in rows)
    assert whole(batch.folder.path)


def test_a_second_call_makes_only_what_is_missing_and_keeps_the_seconds(make: Any) -> None:
    batch = make("a cat", "a dog", "a cow")
    batch.run()
    seconds = parquet.read_table(batch.folder.path / "index.parquet").to_pydict()["seconds"]
    (batch.folder.path / "items" / "001" / "record.safetensors").unlink()
    assert batch.begin() == []
    assert batch.run().made == 1
    assert batch.begun() == {"000": 1, "001": 2, "002": 1}
    again = parquet.read_table(batch.folder.path / "index.parquet").to_pydict()["seconds"]
    assert again[0] == seconds[0] and again[1] != seconds[1]


def test_another_plan_in_the_folder_is_an_error_that_says_what_differs(make: Any, tmp_path: Path) -> None:
    batch = make("a cat", "a dog")
    batch.run()
    with pytest.raises(SettingError, match="steps: 20 there, 30 now"):
        batch.begin(steps=30)
    with pytest.raises(SettingError, match="items: 2 there, 1 now"):
        Batch(tmp_path, "a cat").begin()
    with pytest.raises(SettingError, match="the items of p.txt, None: they have changed since"):
        Batch(tmp_path, "a cat", "a cow").begin()
    assert Batch(tmp_path, "a cat", "a dog").begin() == []


def test_a_plan_of_which_nothing_was_made_is_no_obstacle(make: Any) -> None:
    """A model whose name was mistyped, say."""
    batch = make("a cat")
    assert batch.begin(model="mistyped") == [] and batch.begin() == []
    assert batch.run().made == 1


def test_other_versions_are_told_and_no_obstacle(make: Any) -> None:
    batch = make("a cat")
    said = batch.folder.begin(Plan(batch.items, SETTINGS, SOURCE), {"torch": "3"}, "later")
    assert said == ["torch was 2 when this batch was begun and is 3 now"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(SettingError, match="has other files"):
        Batch(tmp_path, "a cat").begin()
    (tmp_path / "out" / "mine").rename(tmp_path / "out" / "manifest.json")
    with pytest.raises(SettingError, match=r"manifest\.json cannot be read"):
        Batch(tmp_path, "a cat").begin()


def test_a_prompt_that_raises_is_noted_and_the_others_are_made(make: Any) -> None:
    batch = make("a cat", "raise", "a cow")
    assert batch.run().counts == {"done": 2, "failed": 1, "missing": 0}
    (line,) = (batch.folder.path / "errors.jsonl").read_text().splitlines()
    error = json.loads(line)
    assert (error["id"], error["kind"], error["error"]) == ("001", "RuntimeError", "RuntimeError: out of memory")
    assert batch.run().counts["failed"] == 1 and batch.begun()["001"] == 1
    batch.run(retry_failed=True)
    assert batch.begun()["001"] == 2
    assert len((batch.folder.path / "errors.jsonl").read_text().splitlines()) == 1
    assert whole(batch.folder.path)


def test_what_was_retried_with_success_is_no_error_any_more(make: Any) -> None:
    batch = make("raise once", "a cow")
    batch.run()
    fine = Fake(batch.log)

    def make_generate() -> Generate:
        generate = fine()
        return lambda item: generate(Item(item.id, "fine", item.seed))

    assert batch.run(retry_failed=True, make=make_generate).counts == {"done": 2, "failed": 0, "missing": 0}
    assert (batch.folder.path / "errors.jsonl").read_text() == ""


def test_so_many_failures_end_it(make: Any) -> None:
    batch = make("raise", "raise", "a cat", "raise")
    ending = batch.run(max_failures=2)
    assert ending.counts == {"done": 0, "failed": 2, "missing": 2}
    assert ending.why_stopped is not None and "2 items failed" in ending.why_stopped


def test_an_interruption_leaves_nothing_half_done_and_counts_against_no_item(make: Any) -> None:
    batch = make("a cat", "slow", "a cow")
    for _ in range(MOST_BEGUN + 1):

        def interrupted() -> Generate:
            generate = Fake(batch.log)()

            def once(item: Item) -> Any:
                if item.prompt == "slow":
                    os.kill(os.getpid(), signal.SIGTERM)  # as a cluster ends a job
                return generate(item)

            return once

        ending = batch.run(make=interrupted)
        assert ending.is_interrupted and ending.counts == {"done": 1, "failed": 0, "missing": 2}
        assert whole(batch.folder.path)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert batch.run().counts == {"done": 3, "failed": 0, "missing": 0}


def test_an_item_that_ended_the_process_three_times_is_not_begun_again(make: Any) -> None:
    batch = make("kill", "a cow")
    for _ in range(MOST_BEGUN):
        process = os.fork()
        if process == 0:
            batch.run()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert batch.run().counts == {"done": 1, "failed": 1, "missing": 0}
    assert batch.begun() == {"000": MOST_BEGUN, "001": 1}
    assert batch.folder.failed()["000"].kind == "WorkerDied"


def test_items_that_never_come_back_are_handed_out_again_and_then_noted(make: Any) -> None:
    batch = make("a cat", "a dog")
    handed: list[list[str]] = []

    def losing(left: Sequence[Item]) -> Generator[Outcome, None, None]:
        handed.append([item.id for item in left])
        yield from do_in_turn(batch.folder, [item for item in left if item.id != "001"], Fake(batch.log))

    ending = run_batch(batch.folder, batch.items, batch.items, losing)
    assert handed == [["000", "001"], ["001"], ["001"], ["001"]]
    assert ending.counts == {"done": 1, "failed": 1, "missing": 0}
    assert batch.folder.failed()["001"].kind == "Lost"


def test_a_line_of_the_errors_that_was_cut_off_is_passed_over(make: Any) -> None:
    batch = make("raise", "a cow")
    batch.run()
    with (batch.folder.path / "errors.jsonl").open("a") as file:
        file.write('{"id": "001", "err')
    assert set(batch.folder.failed()) == {"000"}


def test_a_record_is_the_last_file_that_is_written(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make("a cat")
    seen: list[set[str]] = []

    def see(path: Path, result: Any) -> None:
        seen.append({each.name for each in path.parent.iterdir()})
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("daam.studies.batch.folder.save_record", see)
    assert batch.run().counts == {"done": 0, "failed": 1, "missing": 0}
    assert seen == [{"output.png", "prompt.txt", "seed.txt"}]
    assert "No space left" in batch.folder.failed()["000"].error
