"""What reaches the attention function is seen while a block runs, and only then; the function itself is untouched."""

from __future__ import annotations

import threading
import types
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from daam.tracing.capture import Capture
from daam.tracing.families.base import Sample
from daam.tracing.families.joint_model import Places, of_image
from daam.tracing.families.seam import Binding, Watch
from daam.tracing.plan import TextKey, TracedText
from tests.joint_models import flux, joint_truth, lumina, sd3

TEXT = TracedText(TextKey(0, "positive"), (1, 3))


def library() -> Any:
    """A module with an attention function, as blocks import it."""
    found = types.ModuleType("library")
    found.attend = lambda query, depth=0: (found.attend(query, depth - 1) if depth else query) * 2  # type: ignore
    return found


class Recorder:
    def __init__(self, owner: Any):
        self.binding = Binding(owner, "attend", lambda arguments, named, result: (arguments, result))  # type: ignore
        self.seen: list[Any] = []
        self.watch = Watch(lambda binding, arguments, named, result: self.seen.append((arguments, result)))


BLOCK = nn.Identity()


def test_only_what_a_running_block_calls_is_seen_and_its_result_is_the_functions_own() -> None:
    owner = library()
    original, recorder = owner.attend, Recorder(owner)
    owner.attend(1)
    recorder.watch.begin(BLOCK, [recorder.binding])
    assert owner.attend(2) == 4
    recorder.watch.end(BLOCK)
    owner.attend(3)
    assert recorder.seen == [((2,), 4)] and owner.attend is original


def test_a_call_within_a_call_is_not_seen_again() -> None:
    owner = library()
    recorder = Recorder(owner)
    recorder.watch.begin(BLOCK, [recorder.binding])
    assert owner.attend(1, 2) == 8
    recorder.watch.end()
    assert recorder.seen == [((1, 2), 8)]


def test_a_block_within_a_block_ends_nothing() -> None:
    owner = library()
    recorder, inner = Recorder(owner), nn.Identity()
    recorder.watch.begin(BLOCK, [recorder.binding])
    recorder.watch.begin(inner, [recorder.binding])
    recorder.watch.end(inner)
    owner.attend(1)
    recorder.watch.end(BLOCK)
    assert len(recorder.seen) == 1


def test_two_watches_see_everything_and_may_end_in_any_order() -> None:
    owner = library()
    original, first, second = owner.attend, Recorder(owner), Recorder(owner)
    first.watch.begin(BLOCK, [first.binding])
    second.watch.begin(BLOCK, [second.binding])
    owner.attend(1)
    first.watch.end(BLOCK)
    owner.attend(2)
    second.watch.end(BLOCK)
    assert [arguments for arguments, _ in first.seen] == [(1,)]
    assert [arguments for arguments, _ in second.seen] == [(1,), (2,)] and owner.attend is original


def test_a_function_that_was_put_over_ours_stays() -> None:
    owner = library()
    recorder = Recorder(owner)
    recorder.watch.begin(BLOCK, [recorder.binding])
    inner = owner.attend
    owner.attend = theirs = lambda query: inner(query) + 1
    assert owner.attend(1) == 3
    recorder.watch.end(BLOCK)
    assert owner.attend is theirs and owner.attend(1) == 3 and len(recorder.seen) == 1


def test_an_attention_that_fails_leaves_the_watch_as_it_was() -> None:
    owner = library()
    recorder = Recorder(owner)
    recorder.watch.begin(BLOCK, [recorder.binding])
    with pytest.raises(TypeError):
        owner.attend()
    owner.attend(1)
    recorder.watch.end(BLOCK)
    assert len(recorder.seen) == 1


def test_each_thread_sees_its_own_calls_alone() -> None:
    owner = library()
    original, met = owner.attend, threading.Barrier(4)
    recorders = [Recorder(owner) for _ in range(4)]

    def work(number: int) -> None:
        for call in range(200):
            recorders[number].watch.begin(BLOCK, [recorders[number].binding])
            if call == 0:
                met.wait()
            assert owner.attend((number, call)) == (number, call) * 2
            recorders[number].watch.end(BLOCK)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, recorder in enumerate(recorders):
        assert [arguments for arguments, _ in recorder.seen] == [((number, call),) for call in range(200)]
    assert owner.attend is original


def flux_call(rows: int = 1, height: int = 3, width: int = 5, text: int = 7) -> dict[str, Any]:
    torch.manual_seed(1)
    ids = torch.zeros(height * width, 3)
    ids[:, 1], ids[:, 2] = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    return {
        "hidden_states": torch.randn(rows, height * width, 16), "encoder_hidden_states": torch.randn(rows, text, 24),
        "pooled_projections": torch.randn(rows, 32), "timestep": torch.full((rows,), 0.5), "img_ids": ids,
        "txt_ids": torch.zeros(text, 3), "return_dict": False,
    }  # fmt: skip


def is_clean(model: nn.Module) -> bool:
    attend = nn.functional.scaled_dot_product_attention
    hooks = (module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return isinstance(attend, types.BuiltinFunctionType) and not any(hooks)


@torch.no_grad()
def test_double_and_single_blocks_are_layers_with_the_attention_after_norm_and_rotary_position() -> None:
    model, given = flux(), flux_call(rows=2)
    before = model(**given)[0]
    capture = Capture(model, lambda call: [TEXT, None])
    names = [f"{kind}.{n}" for kind in ("transformer_blocks", "single_transformer_blocks") for n in (0, 1)]
    with joint_truth(model, names) as truth, ExitStack() as stack:
        capture.install(stack)
        after = model(**given)[0]
    assert capture.fault is None and torch.equal(before, after) and is_clean(model)
    found = capture.accumulator.on_cpu(0)[TEXT.key].sums
    assert list(found) == names
    for name, maps in found.items():
        expected = truth.probabilities[name][0][0, 7:, [1, 3]].T.reshape(2, 3, 5)
        torch.testing.assert_close(maps.double(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_layers_too_large_to_hold_are_worked_off_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = sd3(), {
        "hidden_states": torch.randn(2, 4, 8, 12), "encoder_hidden_states": torch.randn(2, 7, 24),
        "pooled_projections": torch.randn(2, 64), "timestep": torch.tensor([1.0, 1.0]),
    }  # fmt: skip
    found = []
    for limit in (8 * 2**20, 2000):
        monkeypatch.setattr("daam.tracing.layout.CHUNK_ELEMENTS", limit)
        capture = Capture(model, lambda call: [None, TEXT])
        with ExitStack() as stack:
            capture.install(stack)
            model(**given)
        assert capture.fault is None
        found.append(capture.accumulator.on_cpu(0)[TEXT.key].sums)
    for whole, parts in zip(*(sums.values() for sums in found)):
        torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_a_block_that_fails_leaves_nothing_behind() -> None:
    model = flux()

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    capture = Capture(model, lambda call: [TEXT])
    with ExitStack() as stack:
        capture.install(stack)
        model.transformer_blocks[1].attn.to_out[0].register_forward_hook(fail)
        with pytest.raises(RuntimeError, match="no memory"):
            model(**flux_call())
        assert isinstance(nn.functional.scaled_dot_product_attention, types.BuiltinFunctionType)
        model.transformer_blocks[1].attn.to_out[0]._forward_hooks.clear()
        model(**flux_call())
    assert capture.fault is None and capture.calls == 1 and is_clean(model)
    assert len(capture.accumulator.on_cpu(0)[TEXT.key].sums) == 4


@torch.no_grad()
def test_a_block_that_is_interrupted_is_left_when_the_trace_ends() -> None:
    """torch does not call hooks of a module that Ctrl+C leaves."""
    model = flux()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = model.transformer_blocks[1].attn.to_out[0].register_forward_hook(interrupt)
    capture = Capture(model, lambda call: [TEXT])
    with pytest.raises(KeyboardInterrupt), ExitStack() as stack:
        capture.install(stack)
        model(**flux_call())
    handle.remove()
    assert is_clean(model)


@torch.no_grad()
def test_models_in_several_threads_keep_their_attention_apart() -> None:
    models = [flux(), flux(num_layers=1), flux(num_single_layers=1)]
    givens = [flux_call(), flux_call(text=9), flux_call(height=4)]
    alone, together = ([Capture(model, lambda call: [TEXT]) for model in models] for _ in range(2))
    for model, capture, given in zip(models, alone, givens):
        with ExitStack() as stack:
            capture.install(stack)
            for _ in range(5):
                model(**given)

    def work(model: Any, capture: Capture, given: Any) -> None:
        with torch.no_grad(), ExitStack() as stack:
            capture.install(stack)
            for _ in range(5):
                model(**given)

    threads = [threading.Thread(target=work, args=each) for each in zip(models, together, givens)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_clean(model) for model in models)
    for one, other in zip(alone, together):
        assert one.fault is None and other.fault is None
        expected, found = (capture.accumulator.on_cpu(0)[TEXT.key].sums for capture in (one, other))
        assert list(found) == list(expected)
        for layer in expected:
            assert torch.equal(found[layer], expected[layer])


@torch.no_grad()
def test_nested_captures_of_one_model_see_the_same() -> None:
    model = flux()
    captures = [Capture(model, lambda call: [TEXT]) for _ in range(2)]
    with ExitStack() as stack:
        for capture in captures:
            capture.install(stack)
        model(**flux_call())
    first, second = (capture.accumulator.on_cpu(0)[TEXT.key].sums for capture in captures)
    assert is_clean(model) and len(first) == 4
    assert all(torch.equal(first[layer], second[layer]) for layer in first)


@torch.no_grad()
def test_a_text_of_which_the_model_gets_a_part_is_refused() -> None:
    model = lumina()
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    capture = Capture(model, lambda call: [TracedText(TextKey(0, "positive"), (1, 3))])
    with ExitStack() as stack:
        capture.install(stack)
        model(torch.randn(1, 4, 8, 8), torch.tensor([0.5]), torch.randn(1, 5, 24), mask)
    assert "a part of the text only" in str(capture.fault)


def test_the_part_of_positions_that_are_the_pictures_differs_from_row_to_row() -> None:
    places = Places(Sample(2, 4, 4), (2, 2), (1, 3), 0, 8, 8, None)
    rows: Tensor = torch.arange(16).reshape(2, 8, 1, 1)
    assert of_image(rows, places, dim=1).flatten(1).tolist() == [[1, 2, 3, 4], [11, 12, 13, 14]]
    assert of_image(rows[:, :1], places, dim=1).shape == (2, 1, 1, 1)
