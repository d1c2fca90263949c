"""docs/webui.md lists the API's arguments as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from daam.results.declaring import Setting
from daam.results.settings import SETTINGS

PAGE = (Path(__file__).parents[2] / "docs" / "webui.md").read_text("utf-8")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_argument_is_in_the_table_with_its_default(setting: Setting) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {SETTINGS.index(setting)} | "))
    _, _, label, _, default, tooltip, _ = (cell.strip() for cell in row.split("|"))
    assert (label, tooltip) == (setting.label, setting.help)
    assert default.strip('"').lower() == (
        f"{setting.default:g}" if setting.kind == "slider" else str(setting.default).lower()
    )
