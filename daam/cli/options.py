"""Options that several commands share."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from daam.results.drawing import DrawingSettings


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
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(2)


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """How the heat maps look; the defaults are those of `DrawingSettings`."""
    default = DrawingSettings()
    group = parser.add_argument_group("look")
    group.add_argument("--terms", default=default.terms, metavar="LIST", help='"cat, red hat"; default: every word')
    group.add_argument("--negative-maps", action="store_true", help="the negative prompt's words too")
    group.add_argument("--opacity", type=float, default=default.opacity, metavar="0..1", help="1 shows the map alone")
    group.add_argument("--colormap", default=default.colormap, metavar="NAME", help="any of matplotlib (turbo)")
    group.add_argument("--scale", default=default.scale, metavar="NAME", help="shared, each or share")
    group.add_argument("--layout", default=default.layout, metavar="NAME", help="no-gaps, auto or batch-rows")
    group.add_argument("--image-scale", type=float, metavar="F", help="size of the tiles; small ones are enlarged")
    group.add_argument("--no-caption", action="store_true", help="tiles without their words")
    group.add_argument("--per-layer", action="store_true", help="a row of tiles for each layer")
    group.add_argument("--layers", default=default.layers, metavar="LIST", help='such as "up_blocks.*"')
    group.add_argument("--animate", choices=["gif", "webp"], help="one animation over the steps for each term")


def drawing_settings(options: argparse.Namespace) -> DrawingSettings:
    """The settings that the options give, checked."""
    return DrawingSettings(
        terms=options.terms,
        opacity=options.opacity,
        colormap=options.colormap,
        scale=options.scale,
        layout=options.layout,
        show_captions=not options.no_caption,
        image_scale=options.image_scale,
        per_layer=options.per_layer,
        with_negative=options.negative_maps,
        layers=options.layers,
    )
