"""`daam ui`: opens a page to generate and look, on this machine only."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from daam.cli.options import Parser, add_model_option
from daam.errors import SettingError


def make_parser() -> Parser:
    parser = Parser("daam ui", description="A page on this machine to generate pictures and look at their heat maps.")
    add_model_option(parser)
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs until it is stopped; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    if importlib.util.find_spec("gradio") is None:
        raise SettingError('daam ui needs gradio: pip install "sd-webui-attention-heatmap[app]"')
    from daam.app.page import make_app
    from daam.cli.generate import quiet_libraries

    quiet_libraries()
    app = make_app(options.model)
    app.launch(server_name="127.0.0.1", server_port=options.port, inbrowser=not options.no_browser, share=False)
    return 0
