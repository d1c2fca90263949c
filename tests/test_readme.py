"""Every code block of the README runs, and every picture it shows is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from daam.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    part.strip()
    for language, text in BLOCKS
    if language == "bash"
    for line in text.splitlines()
    for part in line.split("&&")
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_block_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("daam ")])
def test_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0


def test_the_first_two_commands_install_and_run_and_are_what_ci_runs() -> None:
    first, second = (text.strip() for language, text in BLOCKS[:2])
    assert first == 'pip install . && daam "a red circle and a blue square on a white background"'
    assert second == 'pip install ".[test]" && pytest'
    script = (ROOT / ".ci" / "run").read_text()
    for part in (*first.split(" && "), *second.split(" && ")):
        assert part in script.replace("pip install --quiet", "pip install"), part


def test_every_bash_block_is_known() -> None:
    assert PYTHON and all(command.split()[0] in ("daam", "pip", "pytest") for command in COMMANDS), COMMANDS


def test_every_picture_and_command_that_it_names_is_there() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"python -m ([\w.]+)", README):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
