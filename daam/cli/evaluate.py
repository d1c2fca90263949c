"""`daam evaluate DIR`: compares heat maps, or masks that others made, with true masks, and gives the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from daam.cli.options import Parser, add_generation_options, generation_settings
from daam.cli.terminal import say
from daam.errors import SettingError
from daam.extras import need

if TYPE_CHECKING:
    from daam.studies.evaluation.scoring import MakeRecord, Protocol
    from daam.studies.numbers.writing import Findings

ABOUT = """\
Compares heat maps with true masks, in a folder of `daam batch` or as the DAAM authors' code reads.

  DIR/<id>/prompt.txt, seed.txt, <word>.gt.png
  DIR/<id>/<subtype, or here>/record.safetensors, output.png, <word>.<prefix>.pred.png
"""
CASTORINI = {"thresholds": "0.4", "mask_rule": "minmax", "match": "labelled", "missing": "skip"}
"""What the authors' code does, for --protocol castorini."""
DEFAULTS = {"thresholds": "0.3,0.4,0.5", "mask_rule": "max", "match": "labelled", "missing": "zero"}


def make_parser() -> Parser:
    parser = Parser("daam evaluate", description=ABOUT)
    parser.add_argument("folder", type=Path, metavar="DIR")
    group = parser.add_argument_group("protocol")
    group.add_argument("--thresholds", metavar="LIST", help="default 0.3,0.4,0.5")
    group.add_argument("--mask-rule", metavar="RULE", help="max (default), minmax, absolute: what the threshold is of")
    group.add_argument("--match", choices=["labelled", "best", "hungarian"], help="how predictions meet true masks")
    group.add_argument("--vocabulary", default="none", metavar="NAME", help="none, coco80, coco27, or a file")
    group.add_argument("--missing", choices=["zero", "skip"], help="a missing prediction is an IoU of 0, or left out")
    group.add_argument(
        "--map", default="plain", dest="map_kind", metavar="KIND", help="of heat map: plain, refined, output, balanced"
    )
    group.add_argument(
        "--protocol", choices=["ours", "castorini"], default="ours", help="castorini: as the authors' code"
    )
    group = parser.add_argument_group("what is read and written")
    group.add_argument("--prefix", default="daam", help="of the predictions: <word>.<prefix>.pred.png")
    group.add_argument("--subtype", metavar="NAME", help="only these; default: all")
    group.add_argument("--annotations", type=Path, metavar="FILE", help="true masks in COCO's format")
    group.add_argument("--write-masks", action="store_true", help="write the masks of the first threshold beside")
    add_output_options(group, "evaluation")
    group = parser.add_argument_group("pictures without record or predictions")
    group.add_argument("--generate", action="store_true", help="generate them from prompt and seed")
    add_generation_options(group)
    return parser


def add_output_options(group: Any, name: str) -> None:
    """What every command has that writes findings; `name` is the folder in DIR."""
    group.add_argument("-o", "--out", type=Path, metavar="FOLDER", help=f"default: DIR/{name}")
    group.add_argument("--csv", action="store_true", help="the samples as CSV too")
    group.add_argument("--json", action="store_true", help="results.json on the standard output, and nothing else")


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    for module in ("pycocotools.mask", "scipy.stats", "pandas", "pyarrow.parquet"):
        need(module, "daam evaluate")
    from daam.studies.evaluation.coco import CocoTruth
    from daam.studies.evaluation.folders import find_places
    from daam.studies.evaluation.report import findings_of
    from daam.studies.evaluation.scoring import Scoring, score_all

    protocol, settings = read_protocol(options)
    truth = None if options.annotations is None else CocoTruth(options.annotations)
    prefix = f"{options.prefix}-{protocol.thresholds[0]:g}" if options.write_masks else None
    make = _maker(options) if options.generate else None
    scoring = Scoring(protocol, truth=truth, make_record=make, write_prefix=prefix)
    places = list(find_places(options.folder, options.prefix, options.subtype))
    frame = score_all(scoring, tqdm(places, desc="pictures", unit="picture"))
    findings = findings_of(frame, scoring, {**settings, "folder": str(options.folder)})
    tell(findings, options, options.folder / "evaluation")
    return 0


def tell(findings: Findings, options: argparse.Namespace, default: Path) -> None:
    """Writes the findings and prints them, as the options say."""
    from daam.studies.numbers.writing import PAGE, terminal_lines, to_json, write_findings

    folder = options.out or default
    write_findings(folder, findings, with_csv=options.csv)
    if options.json:
        sys.stdout.write(to_json(findings))
        return
    for line in terminal_lines(findings):
        say(line)
    say(f"\n{folder}\nOpen {folder / PAGE} in a browser")


def read_protocol(options: argparse.Namespace) -> tuple[Protocol, dict[str, Any]]:
    """The protocol that is asked for, and the settings as the report has them.

    Raises:
        SettingError: one of them does not fit.
    """
    from daam.results.report import versions
    from daam.studies.evaluation.rules import check_rule
    from daam.studies.evaluation.scoring import Protocol
    from daam.studies.evaluation.vocabularies import load_vocabulary

    base = CASTORINI if options.protocol == "castorini" else DEFAULTS
    chosen: dict[str, Any] = {name: getattr(options, name) or value for name, value in base.items()}
    thresholds = read_thresholds(chosen["thresholds"])
    check_rule(chosen["mask_rule"], thresholds, options.map_kind)
    protocol = Protocol(
        tuple(thresholds), chosen["mask_rule"], chosen["match"], load_vocabulary(options.vocabulary),
        chosen["missing"], options.map_kind,
    )  # fmt: skip
    more = {
        "thresholds": thresholds,
        "vocabulary": options.vocabulary,
        "map": options.map_kind,
        "prefix": options.prefix,
    }
    settings = {**chosen, **more, "protocol": options.protocol, "annotations": str(options.annotations or "")}
    return protocol, {**settings, "versions": versions()}


def read_thresholds(text: str) -> list[float]:
    """
    Raises:
        SettingError: one of them is no number.
    """
    try:
        return sorted({float(piece) for piece in text.split(",") if piece.strip()})
    except ValueError:
        raise SettingError(f"thresholds: expected numbers such as 0.3,0.4,0.5, got {text!r}") from None


def _maker(options: argparse.Namespace) -> MakeRecord:
    """Generates a picture from its prompt and seed and keeps the record; the model is loaded at the first."""
    from daam.cli.generate import quiet_libraries

    quiet_libraries()
    from daam.hosts.diffusers_batch import ManyGenerations
    from daam.maps.heat_maps import HeatMaps
    from daam.results.record import save_record
    from daam.studies.batch.folder import PICTURE, RECORD
    from daam.studies.evaluation.folders import Place

    common = ManyGenerations(options.model, generation_settings(options, "-"), options.device)
    loaded: list[Any] = []

    def make(place: Place) -> HeatMaps:
        if place.prompt is None or place.seed is None:
            raise SettingError(f"generate: expected prompt.txt and seed.txt in {place.folder}, one of them is missing")
        loaded[:] = loaded or [common.load()]
        result = loaded[0].generate(place.prompt, place.seed)
        if place.picture is None:
            result.pictures[0].save(place.folder / PICTURE)
        maps: HeatMaps = result.heat_maps()
        save_record(place.folder / RECORD, result)
        return maps

    return make
