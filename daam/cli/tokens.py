"""`daam tokens PROMPT`: prints what the WebUI makes of a prompt, as a table or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daam.cli.options import Parser
from daam.cli.terminal import say
from daam.demo_model import TOKENIZER
from daam.errors import PromptError, SettingError
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt, prompt_to_data

EMPHASIS = ("None", "Ignore", "Original", "No norm")


def make_parser() -> Parser:
    parser = Parser("daam tokens", description="Shows the token table of a prompt: columns, pieces, weights, steps.")
    parser.add_argument("prompt", nargs="?", help="in the WebUI's syntax")
    parser.add_argument("--from", dest="file", type=Path, metavar="FILE", help="a JSON list of prompts; prints JSON")
    parser.add_argument("--json", action="store_true", help="as data")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--hires-steps", type=int, metavar="N", help="the table of the hires pass")
    parser.add_argument("--embedding", action="append", default=[], metavar="NAME=VECTORS", help="may be repeated")
    parser.add_argument("--comma-padding", type=int, default=20, metavar="N")
    parser.add_argument("--emphasis", default="Original", metavar="MODE", help=", ".join(EMPHASIS))
    parser.add_argument("--negative", action="store_true", help="read it as a negative prompt: no AND")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Runs the command; raises DaamError for what the user can put right."""
    options = make_parser().parse_args(arguments)
    if (options.prompt is None) == (options.file is None):
        raise SettingError("tokens: expected either a prompt or --from FILE")
    if options.emphasis not in EMPHASIS:
        raise SettingError(f"emphasis: expected {', '.join(EMPHASIS)}, got {options.emphasis!r}")
    settings: dict[str, Any] = {
        "steps": options.steps,
        "hires_steps": options.hires_steps,
        "embeddings": dict(_embedding(text) for text in options.embedding),
        "comma_padding": options.comma_padding,
        "emphasis": options.emphasis,
        "negative": options.negative,
    }
    tokenizer = ClipTokenizer.from_folder(TOKENIZER)
    if options.file is not None:
        say(json.dumps([_data(prompt, tokenizer, settings) for prompt in _prompts(options.file)]))
    elif options.json:
        data = _data(options.prompt, tokenizer, settings)
        say(json.dumps(data))
        return 2 if "error" in data else 0
    else:
        _print_table(parse_prompt(options.prompt, tokenizer, **settings))
    return 0


def _embedding(text: str) -> tuple[str, int]:
    name, found, vectors = text.rpartition("=")
    if not found or not name or not vectors.isdigit() or int(vectors) < 1:
        raise SettingError(f"embedding: expected NAME=VECTORS such as mystyle=3, got {text!r}")
    return name, int(vectors)


def _prompts(path: Path) -> list[str]:
    try:
        prompts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"from: expected a JSON list of prompts in {path}: {error}") from error
    if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
        raise SettingError(f"from: expected a JSON list of strings in {path}")
    return prompts


def _data(prompt: str, tokenizer: ClipTokenizer, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        table = parse_prompt(prompt, tokenizer, **settings)
        _check_weights(table)
        return prompt_to_data(table)
    except PromptError as error:
        return {"prompt": prompt, "error": str(error)}


def _check_weights(table: PromptTable) -> None:
    """JSON has no infinity. Raises PromptError."""
    columns = (column for part in table.parts for entry in part.schedule for column in entry.columns)
    endless = next((column for column in columns if not math.isfinite(column.weight)), None)
    if endless is not None:
        raise PromptError(f"expected weights that are numbers, got {endless.weight} for {endless.piece!r}")


def _print_table(table: PromptTable) -> None:
    for number, part in enumerate(table.parts):
        if len(table.parts) > 1:
            say(f"AND part {number + 1}, weight {part.weight:g}: {part.text.strip()}")
        for entry in part.schedule:
            if len(part.schedule) > 1:
                say(f"steps {entry.first_step} to {entry.end_at_step}: {entry.text}")
            say("column  chunk  token  weight  typed at    kind       piece")
            for column in entry.columns:
                if column.kind != "padding":
                    span = "" if column.span is None else f"{column.span[0]}–{column.span[1]}"
                    say(
                        f"{column.column:6}  {column.chunk:5}  {column.token:5}  {column.weight:6.3g}  {span:10}  "
                        f"{column.kind:9}  {column.piece}"
                    )
            say()
    for tag in table.tags:
        say(f"taken out before encoding: {tag.text}")
