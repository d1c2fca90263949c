"""`daam study syntax|cohyponyms|adjectives DIR`: the DAAM paper's studies, of the records in a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from daam.cli.evaluate import add_output_options, tell
from daam.cli.options import Parser
from daam.cli.terminal import say
from daam.extras import need

ABOUT = """\
The DAAM paper's studies, of what `daam batch` generated.

  daam study syntax DIR        how the maps of a head and its dependent overlap, by relation
  daam study cohyponyms DIR    how those of two nouns overlap, and whether both are there
  daam study adjectives DIR    what an adjective changes beside its noun, and how far it reaches
"""
KINDS = ("syntax", "cohyponyms", "adjectives")
RELATIVE, ABSOLUTE = 0.4, 0.15
"""Thresholds by default: the paper's, of each map's maximum; the authors' notebook's, of the value itself."""


def make_parser() -> Parser:
    parser = Parser("daam study", description=ABOUT)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--threshold", type=float, metavar="F", help="default 0.4; 0.15 where it is absolute")
    parser.add_argument("--mask-rule", default="max", metavar="RULE", help="max (default), minmax, absolute")
    parser.add_argument("--map", default="plain", dest="map_kind", metavar="KIND", help="plain, refined, balanced")
    parser.add_argument("--parser", metavar="NAME", help="another model of spaCy's, or its folder (syntax)")
    parser.add_argument("--subtype", metavar="NAME", help="only these; default: all")
    parser.add_argument("--export-sheet", type=Path, metavar="FILE", help="write a sheet for people to rate, and stop")
    parser.add_argument("--ratings", type=Path, metavar="FILE", help="a sheet that was filled in (cohyponyms)")
    add_output_options(parser, "study-KIND")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    from daam.studies.evaluation.folders import find_places

    places = list(find_places(options.folder, subtype=options.subtype))
    if options.export_sheet is not None:
        from daam.studies.language.sheet import ASKED, write_sheet

        count = write_sheet(options.export_sheet, places)
        say(f"{options.export_sheet}: {count} pictures\n{ASKED}")
        return 0
    for module in ("pandas", "scipy.stats", "pyarrow.parquet", "pycocotools.mask"):
        need(module, "daam study")
    from daam.studies.evaluation.rules import check_rule

    threshold = options.threshold
    if threshold is None:
        threshold = ABSOLUTE if options.mask_rule == "absolute" else RELATIVE
    check_rule(options.mask_rule, [threshold], options.map_kind)
    how = {"rule": options.mask_rule, "threshold": threshold, "reading": options.map_kind}
    findings = _STUDIES[options.kind](places, options, how, _settings(options, threshold))
    tell(findings, options, options.folder / f"study-{options.kind}")
    return 0


def _settings(options: argparse.Namespace, threshold: float) -> dict[str, Any]:
    from daam.results.report import versions

    return {
        "study": options.kind, "threshold": threshold, "mask_rule": options.mask_rule, "map": options.map_kind,
        "folder": str(options.folder), "versions": versions(),
    }  # fmt: skip


def _syntax(places: Sequence[Any], options: argparse.Namespace, how: dict[str, Any], settings: dict[str, Any]) -> Any:
    from daam.prompt.grammar import load_parser
    from daam.studies.language.syntax import syntax_findings, syntax_frame

    parser = load_parser(options.parser, "daam study syntax")
    frame, counts = syntax_frame(tqdm(places, desc="pictures", unit="picture"), parser, **how)
    return syntax_findings(frame, counts, {**settings, "parser": parser.name})


def _cohyponyms(
    places: Sequence[Any], options: argparse.Namespace, how: dict[str, Any], settings: dict[str, Any]
) -> Any:
    from daam.studies.language.nouns import noun_findings, noun_rows
    from daam.studies.language.sheet import read_presence

    ratings = None if options.ratings is None else read_presence(options.ratings)
    return noun_findings(*noun_rows(tqdm(places, desc="pictures", unit="picture"), ratings=ratings, **how), settings)


def _adjectives(
    places: Sequence[Any], options: argparse.Namespace, how: dict[str, Any], settings: dict[str, Any]
) -> Any:
    from daam.studies.language.adjectives import find_swaps, swap_findings, swap_rows

    return swap_findings(*swap_rows(find_swaps(places), **how), settings)


_STUDIES = {"syntax": _syntax, "cohyponyms": _cohyponyms, "adjectives": _adjectives}
