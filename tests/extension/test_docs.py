"""docs/webui.md and README.md list the settings as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from daam.results.declaring import Setting
from daam.results.settings import SETTINGS
from tools.settings_tables import TABLES, with_table

PAGE = (Path(__file__).parents[2] / "docs" / "webui.md").read_text("utf-8")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_argument_is_in_the_table_with_its_default(setting: Setting) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {SETTINGS.index(setting)} | "))
    _, _, label, _, default, tooltip, _ = (cell.strip() for cell in row.split("|"))
    assert (label, tooltip) == (setting.label, setting.help)
    assert default.strip('"').lower() == (
        f"{setting.default:g}" if setting.kind == "slider" else str(setting.default).lower()
    )


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_the_tables_are_as_the_tool_writes_them(path: Path) -> None:
    page = path.read_text("utf-8")
    assert page == with_table(page, TABLES[path](SETTINGS)), "run python -m tools.settings_tables"
