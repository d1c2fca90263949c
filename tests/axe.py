"""Axe-core, which finds what people with a screen reader or weak eyes stumble over; fetched by npm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

RUN = """async ([within, known]) => {
    const found = (await axe.run(within || document)).violations;
    const isKnown = (rule, node) => {
        const element = node.target.length === 1 && document.querySelector(node.target[0]);
        return Boolean(element && known[rule] && element.closest(known[rule]));
    };
    const ours = ({id, nodes}) => nodes.filter((node) => !isKnown(id, node)).map((node) => `${id}: ${node.target}`);
    return found.flatMap(ours);
}"""


def fetched(folder: Path) -> Path:
    """The script; skips the test where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    command = [npm, "install", "--no-save", "--silent", "--prefix", str(folder), "axe-core@4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip(f"npm cannot fetch axe-core: {done.stderr.strip()[-200:]}")
    return script


def violations(page: Any, script: Path, within: str | None = None, known: Mapping[str, str] | None = None) -> list[str]:
    """What is found in the page or in one element of it.

    Args:
        known: by rule the elements, as a selector, that are not ours and break it.
    """
    page.add_script_tag(path=script)
    found: list[str] = page.evaluate(RUN, [within, dict(known or {})])
    return found
