"""Options that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from daam.cli.terminal import say, showable
from daam.results.declaring import Setting
from daam.results.settings import SETTINGS, Settings, settings_of

if TYPE_CHECKING:
    from daam.hosts.diffusers_generate import GenerationSettings


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def __init__(self, program: str, **settings: object):
        super().__init__(
            prog=program,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=100),
            allow_abbrev=False,
            **settings,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}", to=sys.stderr)
        sys.exit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        """The help, in what the terminal can show."""
        stream = file or sys.stderr
        stream.write(showable(message, getattr(stream, "encoding", None)))


def add_model_option(group: Any) -> None:
    group.add_argument("--model", default="embedded", help="embedded, diffusers folder, single file, or hub id")


def add_generation_options(group: Any) -> None:
    """What every command has that generates: which model draws, and how; `generation_settings` reads it."""
    add_model_option(group)
    group.add_argument("--steps", type=int, default=20)
    group.add_argument("--sampler", default="DPM++ 2M", metavar="NAME", help="the WebUI's names (DPM++ 2M)")
    group.add_argument(
        "--guidance-scale", type=float, metavar="F", help="default: 7, the embedded model's 5, else the pipeline's"
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: cuda where there is one")


def generation_settings(options: argparse.Namespace, prompt: str, **others: Any) -> GenerationSettings:
    """What is to be generated.

    Raises:
        SettingError: a value does not fit.
    """
    from daam.hosts.diffusers_generate import GenerationSettings
    from daam.hosts.diffusers_models import usual_guidance_scale

    guidance = options.guidance_scale
    if guidance is None:
        guidance = usual_guidance_scale(options.model)
    return GenerationSettings(prompt, steps=options.steps, guidance_scale=guidance, sampler=options.sampler, **others)


def add_drawing_options(parser: argparse.ArgumentParser, settings: Sequence[Setting] = SETTINGS) -> None:
    """How the heat maps look: the settings that need no model."""
    group = parser.add_argument_group("look")
    _add(group, [setting for setting in settings if setting.look is not None])
    group.add_argument("--animate", choices=["gif", "webp"], help="one animation over the steps for each term")


def add_tracing_options(group: Any, settings: Sequence[Setting] = SETTINGS) -> None:
    """The settings that matter while a picture is generated."""
    _add(group, [setting for setting in settings if setting.look is None])


def _add(group: Any, settings: Sequence[Setting]) -> None:
    for setting in settings:
        option = setting.option
        if option is None:
            continue
        if setting.kind == "checkbox":
            how: dict[str, Any] = {"action": "store_const", "const": not setting.default}
        else:
            how = {"type": float if setting.kind == "slider" else str, "metavar": option.metavar}
        group.add_argument(option.flag, dest=setting.name, help=option.help, **how)


def read_settings(options: argparse.Namespace, table: type[Settings] = Settings) -> Settings:
    """The settings that the options give, checked; those that a command has no option for are the defaults.

    Raises:
        SettingError, TermError: a value does not fit.
    """
    chosen = [setting for setting in settings_of(table) if setting.option is not None]
    return table(**{setting.name: setting.read_option(getattr(options, setting.name, None)) for setting in chosen})
