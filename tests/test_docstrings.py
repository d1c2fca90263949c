"""The worked examples in the docstrings give what they say, and every public name has one.

The examples share what a reader of the README has at hand: `daam`, the embedded model as `pipe` with its `tokenizer`,
a `picture` with its `heat_maps`, and Path, np and torch. Each docstring starts from these anew, in an empty folder.
"""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import daam
from daam.prompt import ClipTokenizer

PUBLIC = [getattr(daam, name) for name in daam.__all__ if name != "__version__"]
PLAIN = {
    "daam.maps.heat_maps": ("HeatMap.mask", "HeatMap.overlay", "HeatMap.scaled", "HeatMaps.scaled", "HeatMaps.at"),
    "daam.maps.scales": ("apply_scale",),
    "daam.pictures.overlay": ("overlay",),
    "daam.prompt.content": ("names_something",),
    "daam.prompt.terms": ("parse_terms", "find_term"),
    "daam.prompt.words": ("word_spans",),
    "daam.prompt.typed_words": ("entry_words", "mark_columns"),
    "daam.rewriting.removal": ("remove",),
    "daam.rewriting.weights": ("set_weight", "change_weight"),
    "daam.tracing.attention": ("probabilities",),
    "daam.tracing.outputs": ("similarity",),
    "daam.tracing.refining": ("refine",),
}
"""More that is called from outside, by module."""
RELATIONS = "daam.studies.language.relations"
NEEDS = dict.fromkeys((f"{RELATIONS}.parsed_heat_maps", f"{RELATIONS}.dependency_relations"), "spacy")
"""What an example needs that only an extra installs."""
FINDER = doctest.DocTestFinder(exclude_empty=True)
MODULES = sorted({public.__module__ for public in PUBLIC} | {*PLAIN})
EXAMPLES = [test for name in MODULES for test in FINDER.find(import_module(name), name) if test.examples]


@pytest.fixture(scope="module")
def at_hand() -> dict[str, Any]:
    pipe: Any = daam.load_pipeline(device="cpu")
    with daam.trace(pipe) as tracer:
        picture = pipe("a red circle and a blue square", num_inference_steps=2).images[0]
    tokenizer = ClipTokenizer.from_transformers(pipe.tokenizer)
    own = {"pipe": pipe, "picture": picture, "heat_maps": tracer.heat_maps(), "tokenizer": tokenizer}
    return {"daam": daam, "np": np, "torch": torch, "Path": Path, **own}


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_the_examples_give_what_they_say(
    test: doctest.DocTest, at_hand: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if test.name in NEEDS:
        pytest.importorskip(NEEDS[test.name], reason=f"{NEEDS[test.name]} is not installed")
    test.globs = {**test.globs, **at_hand}
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)


def test_every_public_name_has_an_example() -> None:
    found = {test.name for test in EXAMPLES}
    wanted = [f"{public.__module__}.{public.__qualname__}" for public in PUBLIC]
    wanted += [f"{module}.{name}" for module, names in PLAIN.items() for name in names]
    for name in wanted:
        assert name in found, f"{name} has no example"


def test_no_example_of_the_package_is_left_unrun() -> None:
    for path in Path(daam.__file__).parent.rglob("*.py"):
        if ">>> " in path.read_text("utf-8"):
            name = ".".join(path.relative_to(Path(daam.__file__).parents[1]).with_suffix("").parts)
            assert name in MODULES, f"{path} has an example that no test runs"
