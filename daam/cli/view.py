"""`daam view FOLDER`: writes the interactive report of an earlier result, from its record, and opens it."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from daam.cli.options import Parser
from daam.cli.output import REPORT_PAGE
from daam.errors import RecordError
from daam.results.drawing_settings import DrawingSettings
from daam.results.record import load_record
from daam.results.viewer.page import report_html


def make_parser() -> Parser:
    parser = Parser("daam view", description="Opens the interactive report of an earlier result in the browser.")
    parser.add_argument("result", type=Path, help="its folder, or a record file")
    parser.add_argument("--no-browser", action="store_true", help="write the page only")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    file = find_record(options.result)
    result = replace(load_record(file), drawing=DrawingSettings())
    page = file.parent / (REPORT_PAGE if file.name == "record.safetensors" else f"{file.stem}.html")
    page.write_text(report_html(result), "utf-8")
    print(page)
    if not options.no_browser:
        webbrowser.open(page.resolve().as_uri())
    return 0


def find_record(path: Path) -> Path:
    """The record of a result: the file itself, or the only one in the folder.

    Raises:
        RecordError: there is none, or more than one.
    """
    if not path.is_dir():
        return path
    own = path / "record.safetensors"
    found = [own] if own.is_file() else sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise RecordError(f"expected a folder with one record file, {path} has {len(found)}; name the file")
    return found[0]
