"""`daam view FOLDER`: writes the interactive report of an earlier result, from its record, and opens it."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from daam.cli.folders import reason_of, write_file
from daam.cli.options import Parser
from daam.cli.output import RECORD, REPORT_PAGE
from daam.cli.terminal import say
from daam.errors import RecordError, SettingError
from daam.results.drawing_settings import DrawingSettings
from daam.results.record import load_record
from daam.results.viewer.page import report_html


def make_parser() -> Parser:
    parser = Parser("daam view", description="Opens the interactive report of an earlier result in the browser.")
    parser.add_argument("result", type=Path, help="its folder, or a record file")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FOLDER", help="where the page is written; default: beside it"
    )
    parser.add_argument("--no-browser", action="store_true", help="write the page only")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    file = find_record(options.result)
    result = replace(load_record(file), drawing=DrawingSettings())
    folder = options.out or file.parent
    page = folder / (REPORT_PAGE if file.name == RECORD else f"{file.stem}.html")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(page, report_html(result))
    except OSError as error:
        hint = "" if options.out else "; choose another place with --out FOLDER"
        raise SettingError(f"{page} cannot be written: {reason_of(error)}{hint}") from error
    say(str(page))
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
    own = path / RECORD
    found = [own] if own.is_file() else sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise RecordError(f"expected a folder with one record file, {path} has {len(found)}; name the file")
    return found[0]
