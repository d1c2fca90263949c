"""Adds the extension's command-line options to the WebUI's; it reads this file before anything else."""

import argparse


def preload(parser: argparse.ArgumentParser) -> None:
    """Called by the WebUI with its own parser."""
    parser.add_argument(
        "--attention-heatmap-results",
        type=int,
        default=64,
        metavar="N",
        help="Attention Heatmap: how many finished generations stay in memory for the viewer and the API (0: none)",
    )
