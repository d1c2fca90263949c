"""A batch on Ray: the loop's records byte for byte; workers, driver and machines that die cost no other item."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daam.studies.batch.cluster import _look
from daam.studies.batch.folder import BatchFolder
from daam.studies.batch.work import MOST_BEGUN
from tests.cli.test_cli import run
from tests.studies.batch.test_running import whole

pytest.importorskip("ray.data", reason="Ray is not installed")
ROOT = Path(__file__).parents[3]
WAIT = 500.0
"""Seconds for what takes 20 on a machine with nothing else to do."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Ray keeps a token of its own in the home folder, and its workers are slow where others have the processor."""
    home = tmp_path / "home"
    home.mkdir()
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    own = {"HOME": str(home), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    return {**os.environ, **own, "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    def start_driver(*prompts: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.studies.batch.ray_driver", str(tmp_path), *prompts]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start_driver


def ending_of(driver: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = driver.communicate(timeout=WAIT)
    assert driver.returncode == 0, errors[-3000:]
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def begun(folder: Path) -> dict[str, list[int]]:
    """Which process began each item."""
    return {path.name: [int(line) for line in path.read_text().split()] for path in (folder / "log").iterdir()}


def wait_for(condition: Callable[[], Any], driver: subprocess.Popen[str], seconds: float = WAIT) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        assert driver.poll() is None, driver.communicate()[1][-3000:]
        time.sleep(0.05)
    raise AssertionError("it never came to this")


def test_a_killed_worker_a_prompt_that_kills_and_one_that_raises_cost_no_other_item(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    driver = start("slow", *["a cat"] * 6, "kill", "a dog", "raise", *["a cow"] * 6)
    victim = wait_for(lambda: begun(tmp_path).get("000") if (tmp_path / "log").is_dir() else None, driver)[0]
    os.kill(victim, signal.SIGKILL)
    ending = ending_of(driver)
    assert ending["counts"] == {"done": 14, "failed": 2, "missing": 0}
    assert sorted(ending["seen"]) == [f"{number:03}" for number in range(16)]
    processes = begun(tmp_path)
    assert len(processes["007"]) == MOST_BEGUN and len(set(processes["007"])) == MOST_BEGUN
    assert len(processes["000"]) == 2 and processes["000"][0] == victim
    others = {name: found for name, found in processes.items() if name not in ("000", "007")}
    assert all(len(found) == 1 for found in others.values()), others
    failed = BatchFolder(tmp_path / "out").failed()
    assert {name: outcome.kind for name, outcome in failed.items()} == {"007": "WorkerDied", "009": "RuntimeError"}
    assert whole(tmp_path / "out")


def test_a_killed_driver_is_started_again_and_goes_on(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    prompts = ["a cat", "slow"] * 5
    driver = start(*prompts)
    folder = BatchFolder(tmp_path / "out")
    wait_for(lambda: len(folder.done()) >= 3, driver)
    driver.kill()
    driver.communicate()
    time.sleep(3)  # what Ray started goes with it
    done = folder.done()
    before = begun(tmp_path)
    ending = ending_of(start(*prompts))
    assert ending["counts"] == {"done": 10, "failed": 0, "missing": 0}
    assert ending["made"] == 10 - len(done)
    after = begun(tmp_path)
    assert all(after[name] == before[name] for name in done)
    assert all(len(found) <= 2 for found in after.values())
    assert whole(tmp_path / "out")


def test_a_machine_that_is_taken_away_costs_no_item(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    ending = ending_of(start("--two-nodes", *["a cat"] * 16))
    assert ending["counts"] == {"done": 16, "failed": 0, "missing": 0}
    processes = begun(tmp_path)
    assert len({process for found in processes.values() for process in found}) >= 2
    assert sum(len(found) - 1 for found in processes.values()) <= 3  # what the lost machine had in hand
    assert whole(tmp_path / "out")


def test_loop_and_ray_give_the_same_records_byte_for_byte(
    tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\na blue square\na (green:1.3) star\n")
    arguments = ["batch", "--prompts", str(prompts), "--steps", "2", "--threads", "1", "-o"]
    assert run(capsys, *arguments, str(tmp_path / "loop"))[0] == 0
    command = [sys.executable, "-m", "daam.cli.main", *arguments, str(tmp_path / "ray"), "--workers", "2"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT)
    assert made.returncode == 0, made.stderr[-3000:]
    assert "3 made in" in made.stdout
    files = sorted(path.relative_to(tmp_path / "loop") for path in (tmp_path / "loop" / "items").rglob("*.*"))
    assert len(files) == 12
    for path in files:
        assert (tmp_path / "loop" / path).read_bytes() == (tmp_path / "ray" / path).read_bytes(), path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpus-per-worker", "1"], "workers: expected room for 2 with 1 GPU each, the cluster has it for 0"),
        (["--model", "no/such/model.safetensors"], "there is no checkpoint"),
        (["--ray-address", "127.0.0.1:1"], "ray address: 127.0.0.1:1:"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n")
    command = [sys.executable, "-m", "daam.cli.main", "batch", "--prompts", str(tmp_path / "prompts.txt"), "-o"]
    own = {**environment, "CUDA_VISIBLE_DEVICES": ""}
    many = [*command, str(tmp_path / "out"), "--workers", "2", *arguments]
    refused = subprocess.run(many, env=own, capture_output=True, text=True, timeout=WAIT)
    assert refused.returncode == 2, refused.stderr[-3000:]
    assert said in refused.stderr and "Traceback" not in refused.stderr


def test_a_machine_that_does_not_see_the_folder_is_noticed(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    assert _look(str(probe), "word", "node") is not None
    probe.write_text("another folder's word")
    assert _look(str(probe), "word", "node") is not None
    probe.write_text("word")
    assert _look(str(probe), "word", "node") is None
    assert (tmp_path / "probe-node").read_text() == "word"
