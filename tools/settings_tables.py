"""`python -m tools.settings_tables`: writes the tables of settings in docs/webui.md and README.md anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from daam.results.declaring import Setting
from daam.results.settings import SETTINGS

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def argument_table(settings: Sequence[Setting]) -> list[str]:
    """The API's arguments."""
    rows = [
        [str(position), setting.label, _values(setting), _default(setting), setting.help]
        for position, setting in enumerate(settings)
    ]
    return _table(["", "argument", "values", "default", "meaning"], rows)


def option_table(settings: Sequence[Setting]) -> list[str]:
    """The command line's options that are settings."""
    rows = []
    for setting in settings:
        option = setting.option
        if option is None:
            continue
        default = setting.read_option(None)
        is_flag = setting.kind == "checkbox"
        rows.append(
            [
                f"`{option.flag}`",
                "" if is_flag else _option_values(setting),
                "" if is_flag or not default else setting.to_text(setting.to_look(default)),
                option.meaning or setting.help,
            ]
        )
    return _table(["option", "values", "default", "meaning"], rows)


TABLES: dict[Path, Callable[[Sequence[Setting]], list[str]]] = {
    ROOT / "docs" / "webui.md": argument_table,
    ROOT / "README.md": option_table,
}


def with_table(page: str, table: Sequence[str]) -> str:
    """A page whose table between the marks is this one."""
    assert page.count(BEGIN) == page.count(END) == 1, f"expected {BEGIN} and {END} once each"
    text = "\n".join([BEGIN, "", *table, "", END])
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: text, page, flags=re.DOTALL)


def _values(setting: Setting) -> str:
    if setting.kind == "checkbox":
        return "true, false"
    if setting.kind == "choice":
        return setting.values or ", ".join(setting.choices)
    return f"{setting.minimum:g} to {setting.maximum:g}" if setting.kind == "slider" else "text"


def _option_values(setting: Setting) -> str:
    option = setting.option
    if setting.kind == "choice":
        return setting.values or ", ".join(setting.to_look(choice) for choice in setting.choices)
    if setting.kind == "slider" and option is not None and option.maximum is not None:
        return f"{setting.minimum:g} to {option.maximum:g}"
    return _values(setting)


def _default(setting: Setting) -> str:
    text = setting.to_text(setting.default)
    return {"checkbox": text.lower(), "text": f'"{text}"'}.get(setting.kind, text)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    assert not any("|" in cell for row in rows for cell in row), "a cell cannot hold |"
    return [
        _row(heads),
        "|" + "---|" * len(heads),
        *(_row(row) for row in rows),
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |" if cells[0] else "| | " + " | ".join(cells[1:]) + " |"


def main() -> None:
    for path, table in TABLES.items():
        path.write_text(with_table(path.read_text("utf-8"), table(SETTINGS)), "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
