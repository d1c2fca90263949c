"""Maps in the attention's output space: their definition against full matrices, and how they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import daam
from daam.errors import NotKeptError, SettingError, TraceError
from daam.maps.readings import remark_of
from daam.maps.statistics import strengths
from daam.results.drawing import draw
from daam.results.drawing_settings import DrawingSettings
from daam.results.report import make_report

pytest.importorskip("diffusers", minversion="0.42", reason="older ones lack some of these pipelines")

from tests import joint_pipelines as made
from tests.hosts.test_joint_pipelines import KINDS, Kind, generate, grid, tokens
from tests.joint_models import JointTruth, joint_truth
from tests.pipelines import sd1

PROMPT = "a red, red circle"
WORDS = ["a", "red", ",", "red", "circle"]


def expected(kind: Kind, truth: JointTruth, layer: str, groups: list[list[int]], own: int) -> Tensor:
    """[word, height, width]: each place's output times each word's, softmax over the words, added up over calls."""
    size = grid(kind)
    count, total = size[0] * size[1], torch.zeros(len(groups), *size, dtype=torch.float64)
    for outputs in truth.outputs[layer]:
        positions = outputs.shape[1]
        if kind.is_image_first:
            first, text = 0, -(-count // kind.filled) * kind.filled
        else:
            first, text = own if kind.is_ragged else positions - count, 0
        image = outputs[0, first : first + count]
        words = torch.stack([outputs[0, [text + column for column in group]].mean(0) for group in groups])
        total += (image @ words.T).softmax(-1).T.reshape(len(groups), *size)
    return total


def groups_of(kind: Kind, pipeline: object, prompt: str) -> list[list[int]]:
    """The columns of `a`, `red`, `,`, `red`, `circle`, by counting the tokens before each."""
    template = kind.template(pipeline)
    found, start = [], 0
    for word in WORDS:
        start = prompt.index(word, start)
        before, through = ((template + prompt[:end]).rstrip(" ") for end in (start, start + len(word)))
        first, last = (tokens(kind, pipeline, text) - kind.dropped for text in (before, through))
        clip = [1 + len(found)] if kind.before else []  # of SD3: each of these is one token of CLIP's
        found.append([*clip, *range(kind.before + first, kind.before + last)])
        start += len(word)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_output_maps_are_those_of_the_full_matrices(name: str) -> None:
    kind = KINDS[name]
    pipeline = kind.make()
    before = generate(kind, pipeline, PROMPT)
    tracer = daam.trace(pipeline, keep="outputs")
    with joint_truth(pipeline.transformer, kind.layers) as truth, tracer:
        traced = generate(kind, pipeline, PROMPT)
    assert np.array_equal(before, traced)
    (text,) = (text for key, text in tracer.image_trace().texts.items() if key.side == "positive")
    groups = groups_of(kind, pipeline, PROMPT)
    assert [list(word) for word in text.text.output_words] == groups
    own = tokens(kind, pipeline, kind.template(pipeline) + PROMPT)
    for layer in kind.layers:
        wanted = expected(kind, truth, layer, groups, own)
        torch.testing.assert_close(text.outputs[layer].double(), wanted, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def result() -> daam.Result:
    kind = KINDS["Flux"]
    pipeline = made.flux()
    with daam.trace(pipeline, keep=("outputs", "steps")) as tracer:
        pictures = generate(kind, pipeline, PROMPT, output_type="pil")
    return daam.Result(list(pictures), [tracer.image_trace()], notes=daam.Notes(PROMPT))


def test_every_word_has_an_output_map_and_its_strength_is_the_plain_ones(result: daam.Result) -> None:
    plain = result.heat_maps()
    read = plain.select(reading="output")
    assert list(read) == list(plain) == ["a", "red", "circle"]
    for word in read:
        values = read[word].values
        assert values.shape == (32, 48) and np.isfinite(values).all() and values.min() >= 0 < values.max()
        assert not np.allclose(values, plain[word].values)
    assert strengths(read, list(read)) == strengths(plain, list(plain))


def test_the_map_of_a_word_is_added_up_over_the_layers_that_are_chosen(result: daam.Result) -> None:
    read = result.heat_maps().select(reading="output")
    (text,) = (text for key, text in result.traces[0].texts.items() if key.side == "positive")
    parts = [read.select(layers=layer) for layer in text.outputs]
    assert [list(part.layers) for part in parts] == [[layer] for layer in text.outputs]
    for word in ("a", "red", "circle"):
        own = [part.by_size(word)[8, 12] for part in parts]
        torch.testing.assert_close(sum(own), read.by_size(word)[8, 12])
        assert not any(torch.equal(one, other) for one, other in zip(own, own[1:]))
    with pytest.raises(SettingError, match="made from the whole trace"):
        read.select(steps=(0, 0))["circle"]


def test_output_maps_are_drawn_reported_and_recorded(result: daam.Result, tmp_path: Path) -> None:
    looked = daam.Result(result.pictures, result.traces, DrawingSettings(reading="output"), result.notes)
    drawn = {term.name: np.asarray(term.tile) for term in draw(looked).terms if term.tile is not None}
    before = {term.name: np.asarray(term.tile) for term in draw(result).terms if term.tile is not None}
    assert (drawn["circle"] != before["circle"]).any()
    assert any("output space" in remark for remark in looked.remarks)
    row = next(row for row in make_report(looked)["images"][0]["terms"] if row["term"] == "circle")
    read = result.heat_maps().select(reading="output")
    assert row["statistics"]["coverage"] == float(read["circle"].mask().mean())
    daam.save_record(tmp_path / "own.safetensors", looked)
    loaded = daam.load_record(tmp_path / "own.safetensors").heat_maps().select(reading="output")
    for word in read:
        assert np.array_equal(loaded[word].values, read[word].values)


def test_where_there_are_no_output_maps_it_is_said() -> None:
    pipeline = made.flux()
    with daam.trace(pipeline) as tracer:
        generate(KINDS["Flux"], pipeline)
    assert remark_of("output", tracer.image_trace()).endswith("the plain ones are shown: they were not kept.")
    with pytest.raises(NotKeptError, match=r'trace with `daam.trace\(pipe, keep="outputs"\)`'):
        tracer.heat_maps().select(reading="output")["circle"]
    with pytest.raises(TraceError, match="no maps in the output space: only in a model with joint attention"):
        daam.trace(sd1(), keep="outputs")


def test_a_call_that_fails_leaves_no_output_maps_of_it_behind() -> None:
    pipeline = made.flux()
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no memory")

    handle = pipeline.transformer.proj_out.register_forward_pre_hook(fail)
    with daam.trace(pipeline, keep="outputs") as tracer, pytest.raises(RuntimeError):
        generate(KINDS["Flux"], pipeline)
    handle.remove()
    (text,) = (text for key, text in tracer.image_trace().texts.items() if key.side == "positive")
    for maps in text.outputs.values():
        torch.testing.assert_close(maps.sum(dim=0), torch.ones(grid(KINDS["Flux"])))


def test_words_beside_the_pictures_size_are_no_matter() -> None:
    """Several pictures, sizes and sides: each has its own."""
    kind = KINDS["Z-Image"]
    pipeline = kind.make()
    settings = {**kind.guided, "negative_prompt": ["a blue square"] * 2, "height": 48, "width": 32}
    with daam.trace(pipeline, keep="outputs") as tracer:
        pictures = generate(kind, pipeline, ["a red circle", "a cat"], output_type="pil", **settings)
    assert [picture.size for picture in pictures] == [(32, 48)] * 2 and isinstance(pictures[0], Image.Image)
    for image, words in ((0, ["a", "red", "circle"]), (1, ["a", "cat"])):
        assert list(tracer.heat_maps(image).select(reading="output")) == words
        negative = tracer.heat_maps(image, side="negative").select(reading="output")
        assert list(negative) == ["a", "blue", "square"] and negative["square"].values.max() > 0
