"""`daam render RECORD`: draws the heat maps of an earlier generation again, without its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from daam.cli.folders import NewFolder, name_of_now, reason_of
from daam.cli.options import Parser, add_drawing_options, read_settings
from daam.cli.output import print_terms, write_animations, write_drawing, write_report
from daam.cli.terminal import say
from daam.errors import NotKeptError, SettingError
from daam.results.drawing import draw
from daam.results.drawing_settings import DrawingSettings


def make_parser() -> Parser:
    parser = Parser("daam render", description="Draws heat maps again from a record file, without the model.")
    parser.add_argument("record", type=Path, help="a record.safetensors, or the folder with one")
    parser.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="default: a new folder beside the record")
    add_drawing_options(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    settings = DrawingSettings.of(read_settings(options))

    from daam.maps.readings import check_reading
    from daam.results.record import load_record
    from daam.results.report import make_report

    path = options.record / "record.safetensors" if options.record.is_dir() else options.record
    result = replace(load_record(path), drawing=settings)
    if options.animate and not any("steps" in trace.keep for trace in result.traces):
        raise NotKeptError(f"animate: the steps were not kept in {path}; generate with `daam --animate gif`")
    for trace in result.traces:
        check_reading(settings.reading, trace)
    parent = options.out or path.parent / "renders"
    with NewFolder(parent, name_of_now(result.notes.seed)) as folder:
        try:
            write_drawing(folder.draft, draw(result), [])
            if options.animate:
                write_animations(folder.draft, options.animate, result)
            report = make_report(result)
            write_report(folder.draft, report)
            place = folder.finish()
        except OSError as error:
            raise SettingError(f"out: {folder.place} cannot be written: {reason_of(error)}") from error
    print_terms(report)
    say(f"\n{place}")
    return 0
