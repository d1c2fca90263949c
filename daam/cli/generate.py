"""`daam PROMPT`: generates a picture, traces it, and writes its heat maps into a new folder."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from daam.cli.folders import NewFolder, name_of_now, reason_of
from daam.cli.options import (
    Parser,
    add_drawing_options,
    add_generation_options,
    add_tracing_options,
    generation_settings,
    read_settings,
)
from daam.cli.output import ORDERS, REPORT_PAGE, print_terms, rescue, write_pictures, write_result
from daam.cli.terminal import say
from daam.errors import DaamError, ModelError, SettingError, TraceError
from daam.results.declaring import Setting
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.results.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from daam.hosts.diffusers_generate import GenerationSettings

EXAMPLE = """\
Generates a picture and shows which part of it attends to each word of the prompt.

  daam "a red circle and a blue square on a white background"
  daam render daam-out/…/record.safetensors --terms "red circle"    draw again, without the model
"""


DEFAULT_SEED = 2
"""The example's first picture must show what it asks for: with this seed the embedded model draws both shapes."""


def make_parser(settings: Sequence[Setting] = SETTINGS) -> Parser:
    parser = Parser("daam", description=EXAMPLE)
    parser.add_argument("prompt", help="in the WebUI's syntax: (word:1.3), [a:b:0.5], [a|b], BREAK")
    group = parser.add_argument_group("generation")
    group.add_argument("--negative", default="", metavar="PROMPT", help="what to keep away from")
    add_generation_options(group)
    group.add_argument("--seed", type=int, default=DEFAULT_SEED)
    group.add_argument("--width", type=int, help="pixels, a multiple of 8; default: the model's own")
    group.add_argument("--height", type=int)
    group.add_argument("--batch-size", type=int, default=1, metavar="N")
    group.add_argument("--dtype", help="float32, float16 or bfloat16")
    group.add_argument("-o", "--out", type=Path, default=Path("daam-out"), metavar="FOLDER")
    add_tracing_options(group, settings)
    add_drawing_options(parser, settings)
    parser.add_argument(
        "--sort", choices=list(ORDERS), default="prompt", metavar="ORDER", help="of the table: prompt or strength"
    )
    return parser


def quiet_libraries() -> None:
    """Keeps the libraries' own progress bars and hints off the terminal; errors are still told."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()

    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    wanted = read_settings(options)
    drawing = DrawingSettings.of(wanted)

    quiet_libraries()
    settings = generation_settings(
        options,
        options.prompt,
        negative=options.negative,
        seed=options.seed,
        height=options.height,
        width=options.width,
        batch_size=options.batch_size,
    )
    name = name_of_now(settings.seed)
    with NewFolder(options.out, name) as folder:
        result = replace(_generated(options, settings, wanted), drawing=drawing)
        try:
            if result.fault is None:
                report = write_result(folder.draft, result, options.animate)
            else:
                write_pictures(folder.draft, result.pictures)
            place = folder.finish()
        except BaseException as error:
            folder.discard()
            told = _told(rescue(result, options.out, name))
            if isinstance(error, OSError):
                raise SettingError(f"{folder.place} cannot be written: {reason_of(error)}; {told}") from error
            if isinstance(error, DaamError):
                raise SettingError(f"{error}; {told}") from error
            say(f"daam: {told}", to=sys.stderr)
            raise
    if result.fault is not None:
        raise TraceError(f"{result.fault}; the pictures are in {place}")
    print_terms(report, options.sort)
    say(f"\n{place}\nOpen {place / REPORT_PAGE} in a browser, or run: daam view {shlex.quote(str(place))}")
    return 0


def _generated(options: argparse.Namespace, settings: GenerationSettings, wanted: Settings) -> Result:
    """Loads the model and generates.

    Raises:
        ModelError: the model cannot be loaded, or fails on the way: no memory for this size, say.
    """
    from daam.hosts.diffusers_generate import generate
    from daam.hosts.diffusers_models import load_pipeline
    from daam.maps.readings import kept_for
    from daam.results.report import versions

    started = time.perf_counter()
    pipeline = load_pipeline(options.model, device=options.device, dtype=options.dtype)
    loaded = time.perf_counter()
    keep = [*(["steps"] if options.animate else []), kept_for(wanted.reading)]
    with tqdm(total=settings.steps, desc="sampling", unit="step") as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            result = generate(pipeline, settings, keep=keep, terms=wanted.terms, probe=wanted.probe, on_step=on_step)
        except DaamError:
            raise
        except (RuntimeError, MemoryError) as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise ModelError(f"the picture cannot be generated: {reason}") from error
    seconds = {"loading": loaded - started, **result.notes.seconds}
    notes = replace(result.notes, model=options.model, seconds=seconds, versions=versions())
    return replace(result, notes=notes)


def _told(rescued: Path | None) -> str:
    return "no folder took the picture, so it is lost" if rescued is None else f"the picture is in {rescued}"
