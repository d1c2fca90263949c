"""`daam`: finds the command that is meant and turns errors into one line."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from daam.cli.folders import reason_of
from daam.cli.terminal import say
from daam.errors import DaamError, SettingError

COMMANDS = {
    "generate": "daam.cli.generate",
    "batch": "daam.cli.batch",
    "evaluate": "daam.cli.evaluate",
    "study": "daam.cli.study",
    "render": "daam.cli.render",
    "tokens": "daam.cli.tokens",
    "ui": "daam.cli.ui",
    "view": "daam.cli.view",
}
"""Name to module; each has `run(arguments) -> exit code`. Without a name, `generate` is meant."""
OVERVIEW = """\
usage: daam [COMMAND] ...
       daam PROMPT [OPTION ...]     short for daam generate PROMPT

Shows which part of a picture each word of its prompt attended to.

commands:
{commands}

  daam "a red circle and a blue square on a white background"
  daam generate --help              options; the same for every command
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 2 for what the user can put right."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _check_encoding(given)
        if given and given[0] in ("-h", "--help"):
            say(overview())
            return 0
        command = given.pop(0) if given and given[0] in COMMANDS else "generate"
        code = int(importlib.import_module(COMMANDS[command]).run(given))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except DaamError as error:
        return _say_error(str(error), 2)
    except KeyboardInterrupt:
        return _say_error("interrupted", 130)
    except BrokenPipeError:  # whoever read the output has enough
        _drop_output()
        return 141
    except OSError as error:
        code = _say_error(": ".join(filter(None, [error.filename and str(error.filename), reason_of(error)])), 2)
        _drop_output()
        return code


def overview() -> str:
    """What `daam --help` says: every command with the first line of its module, without importing any."""
    lines = [f"  {name:10} {_first_line(module)}" for name, module in COMMANDS.items()]
    return OVERVIEW.format(commands="\n".join(lines))


def _first_line(module: str) -> str:
    """What a module's docstring says behind the command's name."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, f"no module {module}"
    said = ast.get_docstring(ast.parse(Path(spec.origin).read_text("utf-8"))) or ""
    line = said.partition("\n")[0].rpartition("`: ")[2]
    return line[:1].upper() + line[1:]


def _check_encoding(arguments: Sequence[str]) -> None:
    """
    Raises:
        SettingError: an argument came as bytes that are no text; it would end in no file name and no report.
    """
    for argument in arguments:
        if any("\ud800" <= sign <= "\udfff" for sign in argument):
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise SettingError(f"expected arguments in UTF-8, got '{shown}', which is none; type it again")


def _say_error(text: str, code: int) -> int:
    if sys.stderr is not None:
        say(f"daam: {text}", to=sys.stderr)
    return code


def _drop_output() -> None:
    """What is still to be written to the standard output goes nowhere, so that Python does not try again at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
