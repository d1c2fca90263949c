"""`daam`: finds the command that is meant and turns errors into one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from daam.errors import DaamError

COMMANDS = {
    "generate": "daam.cli.generate",
    "render": "daam.cli.render",
    "tokens": "daam.cli.tokens",
    "ui": "daam.cli.ui",
    "view": "daam.cli.view",
}
"""Name to module; each has `run(arguments) -> exit code`. Without a name, `generate` is meant."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 2 for what the user can put right."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given.pop(0) if given and given[0] in COMMANDS else "generate"
    try:
        return int(importlib.import_module(COMMANDS[command]).run(given))
    except DaamError as error:
        print(f"daam: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("daam: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
