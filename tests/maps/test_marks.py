"""The tokens around the words, `<start>` and `<end>`, have maps that can be asked for by name."""

from __future__ import annotations

import pytest

import daam
from daam.errors import TermError
from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.terms import find_term, parse_terms
from tests.pipelines import run, sd1
from tests.places import TOKENIZER
from tests.truth import truth_of


def test_marks_are_kept_with_the_words_and_are_none_of_them() -> None:
    pipeline = sd1()
    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        run(pipeline, "a red circle")
    truth.check(tracer, 1, [0, 1, 2, 3, 4])
    heat_maps = tracer.heat_maps()
    assert [heat_maps[name].places[0].columns for name in ("<start>", "<end>")] == [(0,), (4,)]
    assert list(heat_maps) == ["a", "red", "circle"] and "<padding>" not in heat_maps


def test_single_steps_of_a_mark_are_kept_on_request() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, keep="steps", terms="<end>, circle") as tracer:
        run(pipeline, "a red circle")
    first, last = (tracer.heat_maps().select(steps=(step, step))["<end>"].values for step in (0, 1))
    assert abs(first + last - tracer.heat_maps()["<end>"].values).max() < 1e-5
    with pytest.raises(TermError, match="'<start>': its steps or heads were not kept"):
        tracer.heat_maps().select(steps=(0, 0))["<start>"]


def test_every_chunk_has_its_marks() -> None:
    result = generate(sd1(), GenerationSettings("a cat, " * 30, steps=1, height=64, width=64))
    columns = result.heat_maps()["<start>"].places[0].columns
    assert columns == (0, 77) and result.heat_maps()["<end>"].places[0].columns[0] == 76


def test_words_that_were_typed_so_come_first() -> None:
    table = parse_prompt("a <start> of", ClipTokenizer.from_folder(TOKENIZER))
    (place,) = find_term(parse_terms("<start>")[0], table)
    assert place.columns == (2, 3, 4)
