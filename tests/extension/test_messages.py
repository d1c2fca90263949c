"""What the page says: each sentence begins with a capital, names settings by where they stand, and lists no folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import daam
from daam.errors import PromptError
from daam.prompt import ClipTokenizer
from daam.results.settings import SETTINGS, Settings
from tests.fake_webui import fake_webui
from tests.places import TOKENIZER

PACKAGE = Path(daam.__file__).parent
SAID = ("note", "comment", "tell_job")
"""Methods whose text stands in the WebUI's page."""


def literals(path: Path) -> Iterator[tuple[str, int, str]]:
    """(who says it, line, text) of each text that is raised as one of our errors, or said in the page."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in SAID or (name.endswith("Error") and name[0].isupper()):
                parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
                text = "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in parts)
                yield name, node.lineno, text


FILES = [
    path
    for folder in ("webui", "prompt", "tracing", "maps", "rewriting", "results")
    for path in sorted((PACKAGE / folder).rglob("*.py"))
]
TEXTS = [(path, *found) for path in FILES for found in literals(path)]


def test_there_is_something_to_say() -> None:
    assert len(TEXTS) > 60 and len([each for each in TEXTS if each[1] == "note"]) > 8


@pytest.mark.parametrize("text", [each[3] for each in TEXTS], ids=lambda text: text[:30])
def test_a_note_begins_with_a_capital_or_a_quoted_word(text: str) -> None:
    with fake_webui():
        runs = import_module("daam.webui.run")
        run = runs.Run(SimpleNamespace(), Settings())
        run.note(text)
        assert not run.notes[0][:1].islower()


@pytest.mark.parametrize("path", sorted((PACKAGE / "webui").rglob("*.py")), ids=lambda path: path.stem)
def test_what_is_said_without_a_note_goes_through_told(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        if "p.comment(" in line:
            assert "told(" in line or "(line)" in line, line


def test_an_error_of_a_file_names_no_folder_and_others_say_their_kind() -> None:
    with fake_webui():
        told = import_module("daam.webui.messages").told
    with pytest.raises(OSError) as missing:
        Path("/nowhere/at/all").read_text()
    assert told(missing.value) == "No such file or directory"
    assert told(PromptError("the prompt is long")) == "the prompt is long"
    assert told(KeyError("x")) == "KeyError: 'x'"


def test_settings_are_named_by_where_they_stand() -> None:
    for path, _, line, text in TEXTS:
        if path.is_relative_to(PACKAGE / "webui") and re.search(r"[Ss]ettings?\\b|is off", text):
            assert "{}" in text, f"{path.name}:{line}: {text}; the place comes from the WebUI or from texts.py"


def values_that_do_not_fit() -> Iterator[tuple[str, Any]]:
    wrong: dict[str, Any] = {"checkbox": [], "choice": "nothing", "slider": "much", "text": 7}
    for setting in SETTINGS[1:]:
        yield setting.name, wrong[setting.kind]


@pytest.mark.parametrize(("name", "value"), values_that_do_not_fit())
def test_a_value_that_does_not_fit_is_told_by_its_label(name: str, value: Any) -> None:
    (setting,) = (each for each in SETTINGS if each.name == name)
    with fake_webui():
        runs = import_module("daam.webui.run")
        p = SimpleNamespace()
        runs.override(p, name, value)
        (note,) = runs.begin_run(p, [True]).notes
    assert note.startswith("No heat maps: ") and setting.label in note and "expected" in note


def test_the_count_of_a_study_says_what_is_wrong_before_it_starts() -> None:
    with fake_webui():
        script = import_module("daam.webui.study_script")
        script.table_of = lambda prompt: daam.parse_prompt(prompt, ClipTokenizer.from_folder(TOKENIZER))
        assert script.count_text("circle", "0.5, 1.5", True) == "<p>4 generations.</p>"
        assert script.count_text("", "0.5", False, "a red circle") == "<p>4 generations.</p>"
        unknown = script.count_text("unicorn, <b>", "0.5", False, "a red circle")
        assert unknown.startswith("<p>&#x27;unicorn&#x27; is not in the prompt; choose from: a, red, circle")
        assert script.count_text("circle", "<i>", False).startswith("<p>Weights: expected numbers")
        assert "<i>" not in script.count_text("circle", "<i>", False)
