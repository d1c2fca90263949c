"""install.py: installs what is missing and never changes what is there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "install.py"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """Commands that would have been run, each with its constraints."""
    seen: list[tuple[list[str], str]] = []

    def run(command: list[str], **_: Any) -> Any:
        constraints = Path(command[command.index("--constraint") + 1]).read_text("utf-8")
        seen.append((command, constraints))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def load(monkeypatch: pytest.MonkeyPatch, missing: list[str], *flags: str, environment: str = "") -> None:
    """Runs the file as the WebUI does, where some modules cannot be found."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name))
    monkeypatch.setattr(sys, "argv", ["install.py", *flags])
    monkeypatch.setenv("COMMANDLINE_ARGS", environment)
    exec(compile(FILE.read_text("utf-8"), str(FILE), "exec"), {"__name__": "install"})


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, calls: list[Any]) -> None:
    load(monkeypatch, [])
    assert not calls


def test_only_what_is_missing_with_every_installed_package_held(
    monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    load(monkeypatch, ["matplotlib", "regex"])
    ((command, constraints),) = calls
    assert command[-2:] == ["matplotlib", "regex"]
    lines = constraints.lower().splitlines()
    for package in ("numpy", "torch", "pillow", "transformers"):
        assert f"{package}=={version(package)}" in lines


def test_ftfy_stays_absent_where_it_is(monkeypatch: pytest.MonkeyPatch, calls: list[Any]) -> None:
    """Forge Neo has none, and with it its tokenizer would cut prompts in another way."""
    load(monkeypatch, ["ftfy"])
    assert not calls


@pytest.mark.parametrize("way", [{"flags": ("--skip-install",)}, {"environment": "--api --skip-install"}])
def test_skip_install_is_honoured(monkeypatch: pytest.MonkeyPatch, calls: list[Any], way: dict[str, Any]) -> None:
    load(monkeypatch, ["matplotlib"], *way.get("flags", ()), environment=way.get("environment", ""))
    assert not calls


def test_a_failure_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "no such package")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    load(monkeypatch, ["matplotlib"])
    assert "Install by hand" in capsys.readouterr().err
