"""Words that are not in the prompt, as a text of their own beside it, in models with a stream for the text."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import daam
from daam.errors import TraceError
from daam.tracing.capture import Capture
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe
from daam.tracing.text_maps import TextMaps

pytest.importorskip("diffusers", minversion="0.42", reason="older ones lack some of these pipelines")

from tests import joint_models
from tests import joint_pipelines as made
from tests.hosts.test_joint_pipelines import KINDS, STEPS, Kind, generate, grid, is_clean

DOUBLE = [name for name in KINDS if name not in ("Lumina 2", "Z-Image")]
POSITIVE, PROBE = TextKey(0, "positive"), TextKey(0, "probe")


def make(kind: Kind) -> Any:
    """The pipeline; Klein's tiny encoder has not the layers that it takes unless it is told others."""
    pipeline = kind.make()
    layers = kind.settings.get("text_encoder_out_layers")
    if layers:
        pipeline.encode_prompt = functools.partial(pipeline.encode_prompt, text_encoder_out_layers=layers)
    return pipeline


def last_call(kind: Kind, pipeline: Any) -> dict[str, Any]:
    """What the pipeline's model is called with in the last step."""
    calls: list[dict[str, Any]] = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda model, arguments, named: calls.append(named), with_kwargs=True
    )
    generate(kind, pipeline)
    hook.remove()
    return calls[-1]


class EveryColumn(Probe):
    """A probe of which each token is a word."""

    @property
    def words(self) -> tuple[tuple[int, ...], ...]:
        return tuple((column,) for column in self.columns)


def maps_of(model: Any, named: dict[str, Any], columns: list[int]) -> dict[TextKey, TextMaps]:
    """One call of a model that is probed with those very columns of its text."""
    words = tuple((column,) for column in columns)
    text = TracedText(POSITIVE, tuple(columns), output_words=words)
    vectors = named["encoder_hidden_states"][0, columns]
    probe = EveryColumn(vectors, None, tuple(columns))  # type: ignore[arg-type]
    with ExitStack() as stack, torch.no_grad():
        capture = Capture(model, lambda call: [text] + [None] * (call.rows - 1), probe=probe, keep_outputs=True)
        capture.install(stack)
        model(**named)
    assert capture.fault is None
    return capture.texts(0)


@pytest.mark.parametrize("name", DOUBLE)
def test_a_text_that_is_the_prompt_itself_gets_what_the_prompt_gets(name: str) -> None:
    """So the words' own stream is the model's: its embedding, its rotary positions, block after block."""
    kind = KINDS[name]
    pipeline = make(kind)
    named = last_call(kind, pipeline)
    columns = list(range(named["encoder_hidden_states"].shape[1]))
    if named.get("attention_mask") is not None:  # so that the padding takes part as the words do
        named["attention_mask"] = torch.ones_like(named["attention_mask"])
    found = maps_of(pipeline.transformer, named, columns)
    layers = [layer for layer in kind.layers if layer.startswith("transformer_blocks")]
    assert list(found[PROBE].outputs) == list(found[PROBE].sums) == layers
    for layer in layers:
        torch.testing.assert_close(found[PROBE].outputs[layer], found[POSITIVE].outputs[layer], rtol=1e-3, atol=1e-6)


def test_the_words_keys_stand_beside_the_prompts_in_the_softmax() -> None:
    pipeline = made.flux()
    pipeline.transformer = joint_models.flux(num_attention_heads=1)
    named = last_call(KINDS["Flux"], pipeline)
    found = maps_of(pipeline.transformer, named, list(range(named["encoder_hidden_states"].shape[1])))
    for layer, own in found[PROBE].sums.items():
        prompt = found[POSITIVE].sums[layer]
        torch.testing.assert_close(own, prompt / (1 + prompt.sum(dim=0)))  # each key stands there twice


@pytest.mark.parametrize("name", DOUBLE)
def test_the_picture_and_the_prompts_maps_know_nothing_of_them(name: str) -> None:
    kind = KINDS[name]
    pipeline = make(kind)
    before = generate(kind, pipeline)
    with daam.trace(pipeline, keep="outputs") as alone:
        generate(kind, pipeline)
    with daam.trace(pipeline, keep="outputs", probe="cat, blue square") as tracer:
        assert np.array_equal(generate(kind, pipeline), before)
    assert is_clean(pipeline) or kind.settings.get("text_encoder_out_layers")
    expected, texts = alone.image_trace().texts, tracer.image_trace().texts
    for layer, maps in expected[POSITIVE].sums.items():
        torch.testing.assert_close(texts[POSITIVE].sums[layer], maps, rtol=1e-5, atol=1e-6)
        assert torch.equal(texts[POSITIVE].outputs[layer], expected[POSITIVE].outputs[layer])
    maps = tracer.heat_maps(side="probe")
    read = maps.select(reading="output")
    assert list(maps) == list(read) == ["cat", "blue", "square"]
    for outputs in texts[PROBE].outputs.values():
        torch.testing.assert_close(outputs.sum(dim=0), torch.full(grid(kind), float(STEPS)))
    assert not np.allclose(read["cat"].values, maps["cat"].values)


def test_pictures_of_prompts_of_different_lengths_have_each_their_own() -> None:
    """Their rows have masks, and what conditions the words' stream besides is each row's own."""
    kind = KINDS["Chroma"]
    pipeline = made.chroma()
    prompts = ["a red circle", "a photo of two cat on the green grass"]
    settings = {**kind.guided, "negative_prompt": ["", "a blue square"]}
    with daam.trace(pipeline, keep="outputs") as alone:
        generate(kind, pipeline, prompts, **settings)
    with daam.trace(pipeline, keep="outputs", probe="cat") as tracer:
        generate(kind, pipeline, prompts, **settings)
    found = []
    for image in range(2):
        expected, texts = alone.image_trace(image).texts, tracer.image_trace(image).texts
        for key, text in expected.items():
            for layer, maps in text.sums.items():
                torch.testing.assert_close(texts[key].sums[layer], maps, rtol=1e-5, atol=1e-6)
        found.append(texts[TextKey(image, "probe")])
    first, second = ([*each.sums.values()] for each in found)
    assert all(bool((one > 0).all()) for one in first) and not any(map(torch.equal, first, second))


def test_they_are_encoded_where_a_host_put_a_function_of_its_own_before_the_pipelines() -> None:
    """As SD.Next does, whose function takes whatever it is given, and gives nothing where that was wrong."""
    pipeline = made.flux()
    with daam.trace(pipeline, probe="grass") as tracer:
        generate(KINDS["Flux"], pipeline)
    expected = tracer.heat_maps(side="probe")["grass"].values
    original = pipeline.encode_prompt

    def of_the_host(*arguments: Any, **named: Any) -> Any:
        return original(*arguments, **named) if named.get("prompt") else None

    pipeline.encode_prompt = of_the_host
    with daam.trace(pipeline, probe="grass") as tracer:
        generate(KINDS["Flux"], pipeline)
    assert (tracer.heat_maps(side="probe")["grass"].values == expected).all()


def test_another_tracer_around_sees_nothing_of_them() -> None:
    kind = KINDS["Flux"]
    pipeline = made.flux()
    words = "a red circle"  # as many tokens as the prompt has, so that only the watch itself tells them apart
    with daam.trace(pipeline) as alone:
        generate(kind, pipeline, words, max_sequence_length=4)
    with daam.trace(pipeline) as outer, daam.trace(pipeline, probe="a, red, circle, cat"):
        generate(kind, pipeline, words, max_sequence_length=4)
    expected, found = alone.image_trace().texts[POSITIVE], outer.image_trace().texts[POSITIVE]
    for layer, maps in expected.sums.items():
        assert torch.equal(found.sums[layer], maps) and found.counts[layer] == expected.counts[layer]


def test_a_fault_in_their_stream_does_not_reach_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = made.flux()
    before = generate(KINDS["Flux"], pipeline)

    def fail(self: Any, vectors: Tensor) -> Tensor:
        raise RuntimeError("out of memory")

    with daam.trace(pipeline, probe="cat") as tracer:
        monkeypatch.setattr(type(tracer._capture.family._stream), "embedded", fail)  # type: ignore[attr-defined]
        assert np.array_equal(generate(KINDS["Flux"], pipeline), before)
    with pytest.raises(TraceError, match="out of memory"):
        tracer.heat_maps(side="probe")
    assert is_clean(pipeline)


def test_they_are_recorded(tmp_path: Path) -> None:
    pipeline = made.flux()
    with daam.trace(pipeline, keep="outputs", probe="blue square") as tracer:
        pictures = generate(KINDS["Flux"], pipeline, output_type="pil")
    result = daam.Result(list(pictures), [tracer.image_trace()], notes=daam.Notes("a red circle"))
    daam.save_record(tmp_path / "own.safetensors", result)
    loaded = daam.load_record(tmp_path / "own.safetensors").heat_maps(side="probe").select(reading="output")
    read = tracer.heat_maps(side="probe").select(reading="output")
    assert list(loaded) == list(read) == ["blue", "square"]
    assert all(np.array_equal(loaded[word].values, read[word].values) for word in read)


@pytest.mark.parametrize("name", ["Lumina 2", "Z-Image"])
def test_where_text_and_image_have_one_stream_it_is_refused_at_once(name: str) -> None:
    with pytest.raises(TraceError, match=f"stream of their own, as in Flux; {name} has none"):
        daam.trace(KINDS[name].make(), probe="cat")
