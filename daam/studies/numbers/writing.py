"""Writes what a study found: results.json, samples.parquet, table.md, pictures and one page with all of it."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daam.errors import SettingError
from daam.extras import need
from daam.studies.numbers.estimates import Estimate

RESULTS, SAMPLES, TABLE, PAGE = "results.json", "samples.parquet", "table.md", "report.html"
Cell = str | int | float | Estimate | None
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em;
  color-scheme: light dark; }
table { border-collapse: collapse; margin: 1em 0; } th, td { border: 1px solid #8886; padding: .25em .6em; }
td { text-align: right; } td:first-child, th { text-align: left; } img { max-width: 100%; background: white; }
"""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        scale: factor on its estimates; 100 where they are meant in per cent.
        is_detail: it is in the files, not on the terminal.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    scale: float = 1.0
    digits: int = 3
    is_detail: bool = False

    def cell(self, value: Cell) -> str:
        if isinstance(value, Estimate):
            return value.text(self.scale, self.digits)
        if value is None:
            return "–"
        return f"{value:.{self.digits}f}" if isinstance(value, float) else str(value)

    def lines(self) -> list[list[str]]:
        return [[self.cell(value) for value in row] for row in self.rows]

    @property
    def footnote(self) -> str:
        """Why some of its estimates have no interval."""
        reasons = [
            value.why_no_interval for row in self.rows for value in row if isinstance(value, Estimate) and value.n
        ]
        return "; ".join(dict.fromkeys(filter(None, reasons)))


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        samples: a pandas frame with a row for each sample.
        results: the numbers as plain data, by name.
        settings: what they depend on: thresholds, rules, versions.
        notes: what to know of them, in sentences.
        pictures: matplotlib figures by the name of their file.
    """

    title: str
    samples: Any
    results: Mapping[str, Any]
    settings: Mapping[str, Any]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """What stands in results.json."""
        return {
            "title": self.title,
            "settings": dict(self.settings),
            "notes": list(self.notes),
            "results": plain_data(self.results),
        }


def write_findings(folder: Path, findings: Findings, *, with_csv: bool = False) -> list[Path]:
    """Writes all of it; what was there of the same name is replaced.

    Raises:
        SettingError: the folder cannot be written to.
    """
    need("pyarrow", "samples.parquet")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / RESULTS, folder / SAMPLES, folder / TABLE, folder / PAGE]
        paths[0].write_text(to_json(findings), "utf-8")
        findings.samples.to_parquet(paths[1], engine="pyarrow", index=False)
        paths[2].write_text(_markdown(findings), "utf-8")
        images = {}
        for name, figure in findings.pictures.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
            images[name] = buffer.getvalue()
            paths.append(folder / name)
            paths[-1].write_bytes(buffer.getvalue())
        paths[3].write_text(_page(findings, images), "utf-8")
        if with_csv:
            paths.append(folder / "samples.csv")
            findings.samples.to_csv(paths[-1], index=False)
    except OSError as error:
        raise SettingError(f"out: {folder} cannot be written: {error.strerror or error}") from error
    return paths


def to_json(findings: Findings) -> str:
    return json.dumps(findings.to_data(), indent=1, allow_nan=False) + "\n"


def terminal_lines(findings: Findings) -> list[str]:
    """The tables as aligned text, then the notes."""
    lines: list[str] = []
    for table in findings.tables:
        if table.is_detail:
            continue
        rows = [list(table.heads), *table.lines()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(table.heads))]
        lines += [table.title]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        lines += [table.footnote, ""] if table.footnote else [""]
    return [*lines, *findings.notes]


def plain_data(value: Any) -> Any:
    """Estimates, mappings and lists as JSON has them."""
    if isinstance(value, Estimate):
        return value.to_data()
    if isinstance(value, Mapping):
        return {str(name): plain_data(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(each) for each in value]
    if isinstance(value, float) and value != value:
        return None
    return value


def _markdown(findings: Findings) -> str:
    pieces = [f"# {findings.title}\n"]
    for table in findings.tables:
        rows = [list(table.heads), ["---"] * len(table.heads), *table.lines()]
        pieces.append(f"## {table.title}\n\n" + "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows) + "\n")
        if table.footnote:
            pieces.append(f"{table.footnote}\n")
    pieces += [f"- {note}" for note in findings.notes]
    return "\n".join(pieces) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _page(findings: Findings, images: Mapping[str, bytes]) -> str:
    pieces = [f"<h1>{html.escape(findings.title)}</h1>"]
    for table in findings.tables:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.heads)
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table.lines()]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        pieces.append(f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{body}</table>")
        pieces.append(f"<p>{html.escape(table.footnote)}</p>")
    pieces += [f"<p>{html.escape(note)}</p>" for note in findings.notes]
    for name, content in images.items():
        data = base64.b64encode(content).decode()
        pieces.append(f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{data}"></p>')
    settings = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(json.dumps(value))}</td></tr>"
        for name, value in findings.settings.items()
    )
    pieces.append(f"<h2>Settings</h2><table>{settings}</table>")
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(findings.title)}</title>'
    return f"{head}<style>{_STYLE}</style>{''.join(pieces)}</html>\n"
