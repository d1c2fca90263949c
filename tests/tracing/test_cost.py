"""What tracing costs where it cannot be measured in seconds: operators for each layer, and memory."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

import daam
from benchmarks.launch_bound import PROBE, ModelCalls, extra_operators
from daam.errors import TraceError
from daam.tracing import engine, layout
from daam.tracing.accumulator import Accumulator
from daam.tracing.block import Block, Legend, Share
from daam.tracing.capture import Capture
from daam.tracing.families.base import Attended
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import ProbeKeys
from tests.pipelines import run, sd1


@pytest.mark.parametrize(("probe", "pictures"), [("", 1), ("", 4), (PROBE, 4)])
@pytest.mark.parametrize(("model", "most"), [("sd15", 3.5), ("sdxl", 0.5)])
def test_a_traced_layer_costs_few_operators_in_each_call(model: str, most: float, probe: str, pictures: int) -> None:
    """They were 21.75."""
    calls = ModelCalls(model, pictures, "cpu", torch.float32)
    assert 0 < extra_operators(calls, functools.partial(daam.trace, probe=probe)) <= most


def changes_in_place(attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
    """An attention processor that scales what the projections gave where it stands."""
    context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
    scale = (query.shape[-1] // attn.heads) ** -0.25
    query.mul_(scale)
    key.mul_(scale)
    query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
    mixed = (query @ key.transpose(-1, -2)).softmax(-1) @ value
    return attn.to_out[0](mixed.transpose(1, 2).flatten(2))


def process_with(pipeline: Any, processor: Any) -> None:
    for module in pipeline.unet.modules():
        if hasattr(module, "set_processor"):
            module.set_processor(processor)


def test_a_model_may_change_its_queries_and_keys_after_they_were_seen() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as before:
        run(pipeline, "a red circle", num_inference_steps=3)
    process_with(pipeline, changes_in_place)
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a red circle", num_inference_steps=3)
    first, second = (each.heat_maps()["circle"].values for each in (before, tracer))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5 * first.max())


def test_a_model_that_begins_to_change_them_midway_is_refused_and_keeps_its_picture() -> None:
    pipeline = sd1()

    def later(_pipeline: Any, step: int, _timestep: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        if step == 1:
            process_with(pipeline, changes_in_place)
        return arguments

    pictures = []
    for tracer in (None, daam.trace(pipeline)):
        process_with(pipeline, AttnProcessor2_0())
        with tracer or nullcontext():
            pictures.append(run(pipeline, "a red circle", num_inference_steps=3, callback_on_step_end=later))
    assert (pictures[0] == pictures[1]).all()
    with pytest.raises(TraceError, match=r"changed the query or the key of .*attn2 after they were made"):
        tracer.heat_maps()


def test_what_a_model_leaves_alone_is_copied_in_its_first_call_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, copied = sd1(), []
    original = layout.Layout.joined

    def joined(self: Any, query: Tensor, keys: Any) -> Tensor:
        copied.append(tracer._capture.calls)
        return original(self, query, keys)

    monkeypatch.setattr(layout.Layout, "joined", joined)
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a red circle", num_inference_steps=3)
    assert set(copied) == {0}
    with daam.trace(pipeline) as tracer, torch.inference_mode():
        run(pipeline, "a red circle", num_inference_steps=3)
    assert set(copied) == {0, 1, 2}, "tensors of inference mode do not tell whether something was written to them"


@pytest.mark.parametrize("probe", ["", "grass"])
def test_what_a_layer_does_is_found_out_in_the_first_call_only(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, found_out = sd1(), []
    original = Capture._see

    def see(self: Capture, attended: Attended) -> None:
        found_out.append(self.calls)
        original(self, attended)

    monkeypatch.setattr(Capture, "_see", see)
    with daam.trace(pipeline, probe=probe) as tracer:
        run(pipeline, "a red circle", num_inference_steps=4)
        layers = len(tracer.heat_maps().layers)
        assert found_out == [0] * layers
        run(pipeline, "a red circle", num_inference_steps=2)
    assert found_out == [0] * layers * 2, "another generation has other texts"


def runs_twice(attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **named: Any) -> Tensor:
    """An attention processor that first runs a cross-attention with something else, as ControlNet's reference does."""
    if encoder_hidden_states is not None:
        attn.to_q(3 * hidden_states)
        attn.to_k(encoder_hidden_states)
    return AttnProcessor2_0()(attn, hidden_states, encoder_hidden_states, **named)


def test_of_layers_that_begin_to_run_twice_midway_the_last_run_counts() -> None:
    pipeline = sd1()
    maps = []
    for processor in (AttnProcessor2_0(), runs_twice):

        def later(_pipeline: Any, step: int, _timestep: Any, given: dict[str, Any], then: Any = processor) -> Any:
            if step == 1:
                process_with(pipeline, then)
            return given

        process_with(pipeline, AttnProcessor2_0())
        with daam.trace(pipeline) as tracer:
            run(pipeline, "a red circle", num_inference_steps=4, callback_on_step_end=later)
        maps.append(tracer.heat_maps()["circle"].values)
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5, atol=1e-6 * maps[0].max())


def test_a_generation_in_inference_mode_and_one_outside_of_it_are_traced_alike() -> None:
    pipeline = sd1()
    maps = []
    with daam.trace(pipeline) as tracer:
        with torch.inference_mode():
            run(pipeline, "a red circle")
        maps.append(tracer.heat_maps()["circle"].values)
        run(pipeline, "a red circle")
        maps.append(tracer.heat_maps()["circle"].values)
    assert (maps[0] == maps[1]).all()


def test_no_more_is_set_aside_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, held = sd1(), []
    original = engine.Engine.see

    def see(self: Any, *arguments: Any) -> Any:
        task = original(self, *arguments)
        held.append(sum(part.numel() * 4 for group in self._open.values() for part in group.parts))
        return task

    monkeypatch.setattr(engine.Engine, "see", see)
    with daam.trace(pipeline) as whole:
        run(pipeline, "a red circle")
    monkeypatch.setattr(engine, "HELD_BYTES", max(held) // 4)
    monkeypatch.setattr(engine, "ROOM_BYTES", max(held) // 4)
    most, held = max(held), []
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a red circle")
    assert 0 < max(held) <= most // 2
    assert (tracer.heat_maps()["circle"].values == whole.heat_maps()["circle"].values).all()
    assert layout.CHUNK_ELEMENTS * 4 <= 32 * 2**20


def call_of(names: str, seed: int) -> list[Attended]:
    """Layers of one shape, with numbers of their own."""
    torch.manual_seed(seed)
    return [Attended(name, torch.randn(2, 4, 8), (torch.randn(2, 7, 8),), 2, None, (2, 2)) for name in names]


def test_a_layer_that_does_something_else_than_before_is_found_out_anew() -> None:
    rows = ((1, TracedText(TextKey(0, "positive"), (1, 2))),)
    given, other = torch.zeros(2, 7, 8), torch.zeros(2, 7, 8)
    worker = engine.Engine(keep_details=False, keep_heads=False, probe=None)
    wanted = worker.wanted(rows)
    for seed in range(2):  # in the first call it is copied, and what it does is found out
        worker.begin_call(wanted, given, (2, 2))
        for attended in call_of("ab", seed):
            again = worker.see_again(attended.layer, attended.query, attended.keys[0], given)
            assert again == bool(seed)
            if not again:
                worker.see(attended._replace(context=given), wanted)
        found = {layer: sums for block in worker.finish()[0] for layer, sums in zip(block.layers, block.sums)}
    alone = sums_of(engine.Engine(keep_details=False, keep_heads=False, probe=None), call_of("ab", 1))
    assert found.keys() == alone.keys() and all(torch.equal(found[layer], alone[layer]) for layer in alone)

    (seen,) = call_of("a", 2)
    usual = {"layer": "a", "query": seen.query, "key": seen.keys[0], "context": given}
    with torch.inference_mode():
        of_inference = torch.randn(2, 4, 8)
    unusual = [
        {"layer": "c"}, {"query": torch.randn(2, 4, 16)}, {"query": seen.query.half()}, {"query": of_inference},
        {"query": seen.query.to("meta")}, {"key": torch.randn(2, 8, 8)}, {"context": other},
    ]  # fmt: skip
    worker.begin_call(wanted, given, (2, 2))
    assert not any(worker.see_again(**{**usual, **each}) for each in unusual)
    assert worker.see_again(**usual) and worker.seen_again("a") is not None
    assert not worker.see_again(**usual), "it runs a second time in this call"
    worker.forget()
    worker.begin_call(wanted, given, (1, 4))
    assert not worker.see_again(**usual), "as many positions may be of another size"
    worker.forget()
    worker.begin_call(worker.wanted(((0, rows[0][1]),)), given, (2, 2))
    assert not worker.see_again(**usual), "other rows are wanted"
    worker.forget()
    worker.begin_call(wanted, other, (2, 2))
    assert not worker.see_again(**usual), "the call is conditioned with something else"


def sums_of(worker: engine.Engine, call: list[Attended], *, dropped: str = "") -> dict[str, Tensor]:
    rows = ((1, TracedText(TextKey(0, "positive"), (1, 2))),)
    for attended in call:
        task = worker.see(attended, worker.wanted(rows))
        if attended.layer in dropped:
            task.is_dropped = True
    blocks, order = worker.finish()
    assert order == tuple(attended.layer for attended in call)
    return {layer: sums for block in blocks for layer, sums in zip(block.layers, block.sums)}


def test_calls_with_more_and_with_fewer_layers_give_what_each_gives_by_itself() -> None:
    """The memory that layers are set aside in is kept from call to call."""
    worker = engine.Engine(keep_details=False, keep_heads=False, probe=None)
    for seed, names in enumerate(("ab", "abcd", "abcd", "b", "dcba", "abcde")):
        alone = engine.Engine(keep_details=False, keep_heads=False, probe=None)
        call = call_of(names, seed)
        found, expected = sums_of(worker, call), sums_of(alone, call)
        assert found.keys() == expected.keys() == set(names)
        assert all(torch.equal(found[name], expected[name]) for name in names)
    without = sums_of(worker, call, dropped="bd")
    assert without.keys() == set("ace") and all(torch.equal(without[name], found[name]) for name in "ace")


def test_layers_are_put_together_in_the_same_memory_in_each_call_until_the_end() -> None:
    pipeline, addresses = sd1(), {}
    original = engine.Engine._together

    def together(self: Any, group: Any) -> tuple[Tensor, Tensor]:
        joined, queries = original(self, group)
        assert joined.untyped_storage().data_ptr() == queries.untyped_storage().data_ptr() and queries.shape[0] == len(
            group.tasks
        )
        address = joined.data_ptr() if len(group.tasks) > 1 else None
        addresses.setdefault(tracer._capture.calls, []).append(address)
        return joined, queries

    with pytest.MonkeyPatch.context() as patch, daam.trace(pipeline) as tracer:
        patch.setattr(engine.Engine, "_together", together)
        run(pipeline, "a red circle", num_inference_steps=5)
    assert tracer.heat_maps() and set(addresses) == set(range(5))
    assert len(set(addresses[3])) == len(addresses[3]) > 1 and addresses[3] == addresses[4]
    assert not tracer._capture._engine._rooms


def test_texts_that_come_together_in_ever_new_ways_do_not_hold_ever_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As schedules of different lengths in one batch give them."""
    monkeypatch.setattr("daam.tracing.accumulator.SPARE_BYTES", 0)
    first, second = ([TracedText(TextKey(image, "positive", 0, entry), (1,)) for entry in range(8)] for image in (0, 1))
    accumulator, most = Accumulator(), 0
    for call in range(64):
        texts = first[call % 8], second[call // 8]
        legend = Legend(tuple(Share(text, row, (0,)) for row, text in enumerate(texts)), (4, 4), 1)
        accumulator.add([Block(legend, ("a",), torch.ones(1, 2, 16, 1))], ("a",), step=call, call=call)
        most = max(most, sum(total.sums.numel() for total in accumulator._totals.values()))
    assert most <= 2 * 16 * (8 + 8) + 2 * 16
    for image in (0, 1):
        kept = accumulator.on_cpu(image)
        assert [maps.counts["a"] for maps in kept.values()] == [8] * 8
        assert all(torch.equal(maps.sums["a"], torch.full((1, 4, 4), 8.0)) for maps in kept.values())


def attended(projection: torch.nn.Linear, *, knows_weights: bool = True) -> Attended:
    found = Attended("a", torch.zeros(2, 4, 8), (torch.zeros(2, 7, 8),), 2, None, (2, 2), 0, projection)
    return found._replace(key_weights=lambda: tuple(projection.parameters()) if knows_weights else None)


@torch.no_grad()
def test_a_probes_keys_are_made_again_when_the_weights_change() -> None:
    projection, vectors = torch.nn.Linear(4, 8), torch.randn(3, 4)
    keys = ProbeKeys(vectors)
    seen = attended(projection)
    first = keys.of(seen)
    assert keys.of(seen) is first and torch.equal(first[1], projection(vectors))
    projection.weight.mul_(2)
    assert torch.equal(keys.of(seen)[1], projection(vectors))
    projection.weight = torch.nn.Parameter(torch.randn(8, 4))
    assert torch.equal(keys.of(attended(projection))[0], projection(vectors))
    with torch.inference_mode():
        other = torch.nn.Linear(4, 8)
        keys.of(attended(other))
        other.weight.mul_(2)
        assert torch.equal(keys.of(attended(other))[0], other(vectors))
    unknown = attended(projection, knows_weights=False)
    keys.of(unknown)
    projection.weight.data.mul_(2)
    assert torch.equal(keys.of(unknown)[0], projection(vectors))
