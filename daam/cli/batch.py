"""`daam batch SOURCE -o DIR`: generates many prompts into one folder, and goes on where it stopped."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from daam.cli.generate import quiet_libraries
from daam.cli.options import Parser, add_generation_options, generation_settings
from daam.cli.terminal import say
from daam.errors import SettingError
from daam.extras import need
from daam.studies.batch import sources
from daam.studies.batch.cluster import Cluster, Workers
from daam.studies.batch.folder import ERRORS, BatchFolder
from daam.studies.batch.items import Item, Outcome
from daam.studies.batch.plan import Plan
from daam.studies.batch.running import Ending, MakeOutcomes, check_limits, missing_items, run_batch
from daam.studies.batch.work import Generate, do_in_turn

if TYPE_CHECKING:
    from daam.hosts.diffusers_batch import ManyGenerations

ABOUT = """\
Generates many prompts, each with a record of its heat maps. Call it again to go on.

  daam batch --prompts prompts.txt -o DIR
  daam batch --coco captions_val2014.json --limit 500 -o DIR --workers auto
  daam batch --template "a {0} on a {1}" --words words.tsv -o DIR
"""
SOURCES = ("prompts", "coco", "coco_unreal", "template", "conjunctions", "regenerate")
AUTO = 0
SETTINGS = ("model", "steps", "guidance_scale", "sampler", "width", "height", "dtype", "keep", "probe")
"""Of the generation; another value is another plan."""


def make_parser() -> Parser:
    parser = Parser("daam batch", description=ABOUT)
    group = parser.add_argument_group("source, one of")
    group.add_argument(
        "--prompts", metavar="FILE", help="lines, or JSONL with prompt, id, seed, negative; - is the input"
    )
    group.add_argument("--coco", type=Path, metavar="FILE", help="COCO's captions, shuffled")
    group.add_argument("--coco-unreal", type=Path, metavar="FILE", help="the same with random nouns in place of theirs")
    group.add_argument("--template", metavar="TEXT", help="with {0} or {noun}, filled from --words")
    group.add_argument("--conjunctions", type=Path, metavar="FILE", help="JSON: pairs of nouns, or classes of words")
    group.add_argument("--regenerate", type=Path, metavar="DIR", help="prompts and seeds of an earlier folder")
    group.add_argument("--words", type=Path, metavar="TSV", help="the template's words; a row for each prompt")
    group.add_argument("--limit", type=int, metavar="N", help="only the first N")
    group.add_argument("--parser", metavar="NAME", help="spaCy's model that finds the nouns, for --coco-unreal")
    group.add_argument("--shuffle", type=int, metavar="SEED", help="in random order first; COCO's are, by 0")
    group = parser.add_argument_group("generation")
    group.add_argument("--seed", type=int, default=0, help="of the first prompt; each next one's is 1 more")
    add_generation_options(group)
    group.add_argument("--width", type=int)
    group.add_argument("--height", type=int)
    group.add_argument("--dtype", help="float32, float16 or bfloat16")
    group.add_argument(
        "--keep", default="", metavar="AXES", help="steps, heads, refined: such maps too, besides the layers'"
    )
    group.add_argument("--probe", default="", metavar="WORDS", help="maps of words that need not be in the prompt")
    group = parser.add_argument_group("running")
    group.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    group.add_argument("--workers", default="1", metavar="N", help="processes; auto: one for each GPU")
    group.add_argument("--gpus-per-worker", type=float, metavar="F", help="default 1 where there are any")
    group.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster; auto finds it")
    group.add_argument("--threads", type=int, metavar="N", help="of torch in each worker, on the CPU")
    group.add_argument("--max-failures", type=int, default=100, metavar="N", help="ends it; 0: never (default 100)")
    group.add_argument("--retry-failed", action="store_true", help="those that failed earlier, too")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs the command; 1 where items failed, 130 where it was interrupted."""
    options = make_parser().parse_args(arguments)
    workers = read_workers(options)
    check_limits(options.max_failures, workers if options.workers != "auto" else 1)
    need("pyarrow.parquet", "daam batch")
    items, source = read_source(options)

    quiet_libraries()
    from daam.hosts.diffusers_batch import ManyGenerations
    from daam.hosts.diffusers_models import find_sampler
    from daam.results.report import versions
    from daam.results.result import now

    keep = tuple(sorted(filter(None, (axis.strip() for axis in options.keep.split(",")))))
    if not set(keep) <= {"steps", "heads", "refined"}:
        raise SettingError(f"keep: expected some of steps, heads, refined, got {options.keep!r}")
    of_each = generation_settings(options, "-", height=options.height, width=options.width)
    settings = {name: getattr(options, name) for name in SETTINGS}
    settings |= {"guidance_scale": of_each.guidance_scale, "keep": list(keep)}
    find_sampler(options.sampler)
    common = ManyGenerations(
        options.model, of_each, options.device, options.dtype, keep, options.probe, options.threads
    )
    folder = BatchFolder(options.out)
    for note in folder.begin(Plan(items, settings, source), versions(), now()):
        say(f"daam batch: {note}", to=sys.stderr)
    missing = missing_items(folder, items, retry_failed=options.retry_failed)
    started = time.perf_counter()
    ending = _run(folder, items, missing, Loading(common), options, workers)
    return _tell(folder, ending, time.perf_counter() - started)


@dataclass(frozen=True)
class Loading:
    """Loads the model in whichever process calls it; gives what generates an item."""

    common: ManyGenerations

    def __call__(self) -> Generate:
        quiet_libraries()
        model = self.common.load()
        return lambda item: model.generate(item.prompt, item.seed, item.negative)


def _run(
    folder: BatchFolder,
    items: Sequence[Item],
    missing: Sequence[Item],
    loading: Callable[[], Generate],
    options: argparse.Namespace,
    workers: int,
) -> Ending:
    make_outcomes: MakeOutcomes
    if workers == 1 and options.ray_address is None:
        make_outcomes = partial(do_in_turn, folder, make_generate=loading)
    else:
        make_outcomes = Cluster(folder, loading, Workers(workers or None, options.gpus_per_worker, options.ray_address))
    with tqdm(total=len(items), initial=len(items) - len(missing), desc="items", unit="item", smoothing=0.05) as bar:
        failures = 0

        def on_outcome(outcome: Outcome) -> None:
            nonlocal failures
            if outcome.status == "failed":
                failures += 1
                bar.set_postfix(failed=failures)
            bar.update()

        return run_batch(
            folder,
            items,
            missing,
            make_outcomes,
            max_failures=options.max_failures,
            on_outcome=on_outcome,
        )


def _tell(folder: BatchFolder, ending: Ending, seconds: float) -> int:
    counts = ending.counts
    rate = f", {3600 * ending.made / seconds:.0f} an hour" if ending.made else ""
    say(f"{ending.made} made in {seconds:.0f} s{rate}; in all {counts['done']} done, {counts['failed']} failed, "
        f"{counts['missing']} missing of {sum(counts.values())}\n{folder.path}")  # fmt: skip
    if counts["failed"]:
        say(f"{folder.path / ERRORS} says why; --retry-failed tries them again")
    if ending.why_stopped is not None:
        say(f"daam batch: {ending.why_stopped}; call it again to go on", to=sys.stderr)
    if ending.is_interrupted:
        return 130
    return 1 if counts["failed"] or counts["missing"] else 0


def read_workers(options: argparse.Namespace) -> int:
    """How many processes are asked for; 0 leaves it to the cluster.

    Raises:
        SettingError: it is no number, nor `auto`.
    """
    if options.workers == "auto":
        import torch

        return AUTO if options.ray_address is not None else max(1, torch.cuda.device_count())
    try:
        return int(options.workers)
    except ValueError:
        raise SettingError(f"workers: expected a number or auto, got {options.workers!r}") from None


def read_source(options: argparse.Namespace) -> tuple[list[Item], dict[str, Any]]:
    """The items of the one source that is named, and how it was named.

    Raises:
        SettingError: there is not one source, or it cannot be read.
    """
    given = [name for name in SOURCES if getattr(options, name) is not None]
    if given == ["template", "conjunctions"]:
        given = ["conjunctions"]
    if len(given) != 1:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in SOURCES)
        raise SettingError(f"source: expected one of {named}, got {len(given) or 'none'}")
    if options.limit is not None and options.limit < 1:
        raise SettingError(f"limit: expected at least 1, got {options.limit}")
    kind = given[0]
    shuffle = 0 if options.shuffle is None and kind in ("coco", "coco_unreal") else options.shuffle
    rows = _rows(kind, options)
    items = sources.make_items(rows, seed=options.seed, shuffle=shuffle, limit=options.limit)
    source = {kind: str(getattr(options, kind)), "seed": options.seed, "shuffle": shuffle, "limit": options.limit}
    more = {name: str(getattr(options, name)) for name in ("words", "template") if getattr(options, name) is not None}
    return items, {**source, **more}


def _rows(kind: str, options: argparse.Namespace) -> sources.Rows:
    path = getattr(options, kind)
    if kind == "prompts":
        text = sys.stdin.read() if path == "-" else sources.read_text(Path(path))
        return sources.read_prompts(text, "the input" if path == "-" else path)
    if kind == "template":
        if options.words is None:
            raise SettingError("template: expected --words with a file of tab-separated words, got none")
        return sources.fill_template(path, sources.read_text(options.words), str(options.words))
    if kind == "regenerate":
        return sources.read_folder(path)
    text = sources.read_text(path)
    if kind == "conjunctions":
        return sources.read_conjunctions(text, str(path), options.template, options.seed)
    captions = sources.read_captions(text, str(path))
    if kind == "coco":
        return captions
    from daam.prompt.grammar import load_parser

    return sources.unreal(captions, load_parser(options.parser, "daam batch --coco-unreal").nouns, options.seed)
