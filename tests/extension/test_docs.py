"""docs/webui.md lists the API's arguments as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from daam.webui.controls import CONTROLS, Control

PAGE = (Path(__file__).parents[2] / "docs" / "webui.md").read_text("utf-8")


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_argument_is_in_the_table_with_its_default(control: Control) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {CONTROLS.index(control)} | "))
    _, _, label, _, default, tooltip, _ = (cell.strip() for cell in row.split("|"))
    assert (label, tooltip) == (control.label, control.tooltip)
    assert default.strip('"').lower() == (
        f"{control.default:g}" if control.kind == "slider" else str(control.default).lower()
    )
