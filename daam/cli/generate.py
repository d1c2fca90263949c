"""`daam PROMPT`: generates a picture, traces it, and writes its heat maps into a new folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from daam.cli.options import Parser, add_drawing_options, add_tracing_options, read_settings
from daam.cli.output import (
    REPORT_PAGE,
    new_folder,
    print_terms,
    write_animations,
    write_drawing,
    write_pictures,
    write_report,
)
from daam.errors import TraceError
from daam.results.declaring import Setting
from daam.results.drawing import draw
from daam.results.drawing_settings import DrawingSettings
from daam.results.settings import SETTINGS

EXAMPLE = """\
Generates a picture and shows which part of it each word of the prompt looked at.

  daam "a red circle and a blue square on a white background"
  daam render daam-out/…/record.safetensors --terms "red circle"    draw again, without the model
  daam tokens "a (red:1.2) circle"                                  show the token table
"""


DEFAULT_SEED = 2
"""The example's first picture must show what it asks for: with this seed the embedded model draws both shapes."""


def make_parser(settings: Sequence[Setting] = SETTINGS) -> Parser:
    parser = Parser("daam", description=EXAMPLE)
    parser.add_argument("prompt", help="in the WebUI's syntax: (word:1.3), [a:b:0.5], [a|b], BREAK")
    group = parser.add_argument_group("generation")
    group.add_argument("--negative", default="", metavar="PROMPT", help="what to keep away from")
    group.add_argument("--model", default="embedded", help="embedded, diffusers folder, single file, or hub id")
    group.add_argument("--seed", type=int, default=DEFAULT_SEED)
    group.add_argument("--steps", type=int, default=20)
    group.add_argument("--sampler", default="DPM++ 2M", metavar="NAME", help="the WebUI's names (DPM++ 2M)")
    group.add_argument("--guidance-scale", type=float, metavar="F", help="default 7; the embedded model's is 5")
    group.add_argument("--width", type=int, help="pixels, a multiple of 8; default: the model's own")
    group.add_argument("--height", type=int)
    group.add_argument("--batch-size", type=int, default=1, metavar="N")
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: cuda where there is one")
    group.add_argument("--dtype", help="float32, float16 or bfloat16")
    group.add_argument("--out", type=Path, default=Path("daam-out"), metavar="FOLDER")
    add_tracing_options(group, settings)
    add_drawing_options(parser, settings)
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
    drawing_options = DrawingSettings.of(wanted)

    quiet_libraries()
    from daam.hosts.diffusers_generate import GenerationSettings, generate
    from daam.hosts.diffusers_models import EMBEDDED, EMBEDDED_GUIDANCE_SCALE, load_pipeline

    guidance_scale = options.guidance_scale
    if guidance_scale is None:
        guidance_scale = EMBEDDED_GUIDANCE_SCALE if options.model == EMBEDDED else 7.0
    settings = GenerationSettings(
        prompt=options.prompt,
        negative=options.negative,
        seed=options.seed,
        steps=options.steps,
        guidance_scale=guidance_scale,
        height=options.height,
        width=options.width,
        batch_size=options.batch_size,
        sampler=options.sampler,
    )
    keep = "steps" if options.animate else ()
    started = time.perf_counter()
    pipeline = load_pipeline(options.model, device=options.device, dtype=options.dtype)
    loaded = time.perf_counter()
    with tqdm(total=settings.steps, desc="sampling", unit="step") as bar:

        def on_step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = generate(pipeline, settings, keep=keep, terms=wanted.terms, probe=wanted.probe, on_step=on_step)

    from daam.results.record import save_record
    from daam.results.report import make_report, versions
    from daam.results.viewer.page import report_html

    folder = new_folder(options.out, settings.seed)
    taken = write_pictures(folder, result.pictures)
    if result.fault is not None:
        raise TraceError(f"{result.fault}; the pictures are in {folder}")
    seconds = {"loading": loaded - started, **result.notes.seconds}
    notes = replace(result.notes, model=options.model, seconds=seconds, versions=versions())
    result = replace(result, drawing=drawing_options, notes=notes)
    save_record(folder / "record.safetensors", result)
    drawing_started = time.perf_counter()
    write_drawing(folder, draw(result), taken)
    if options.animate:
        write_animations(folder, options.animate, result)
    seconds["drawing"] = time.perf_counter() - drawing_started
    report = make_report(result)
    write_report(folder, report)
    (folder / REPORT_PAGE).write_text(report_html(result), "utf-8")
    print_terms(report)
    print(f"\n{folder}")
    return 0
