"""Keys of the text are kept from call to call; what changes them is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import daam
from daam.errors import TraceError
from daam.tracing import kept_keys, layout
from daam.tracing.families.cross_attention import find_cross_attention_layers
from tests.pipelines import run, sd1
from tests.tracing.test_cost import process_with

STEPS = 6
CHANGED_AT = 3
"""In the callback behind this step: by then keys are kept, and kept again afterwards."""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers' keys were put together, for each time that it was done."""
    found: list[int] = []
    original = layout.Layout.keys

    def keys(self: Any, layers: int, joined: Tensor) -> Tensor:
        found.append(layers)
        return original(self, layers, joined)

    monkeypatch.setattr(layout.Layout, "keys", keys)
    return found


def first_projection(pipeline: Any) -> Any:
    return find_cross_attention_layers(pipeline.unet)[0].attention.to_k


def nothing(_pipeline: Any) -> None:
    """As usual."""


def change_weight(pipeline: Any) -> None:
    with torch.no_grad():
        first_projection(pipeline).weight.mul_(2)


def replace_weight(pipeline: Any) -> None:
    first_projection(pipeline).weight = nn.Parameter(2 * first_projection(pipeline).weight.detach())


def replace_forward(pipeline: Any) -> None:
    projection = first_projection(pipeline)
    projection.forward = lambda context: 2 * nn.functional.linear(context, projection.weight)


def change_hook(pipeline: Any) -> None:
    """One that was there before the trace began, so that ours sees what comes of it."""
    pipeline.factor = 2


CHANGES: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (nothing, change_weight, replace_weight, replace_forward, change_hook)
}


def generated(change: Callable[[Any], None], *, probe: str = "", change_text: bool = False) -> tuple[Any, Tensor]:
    """A trace of a generation in whose middle something is changed, and the picture."""
    pipeline = sd1()
    pipeline.factor = 1
    if change is change_hook:
        first_projection(pipeline).register_forward_hook(lambda _module, _inputs, key: pipeline.factor * key)

    def later(_pipeline: Any, step: int, _timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        if step == CHANGED_AT:
            change(pipeline)
            if change_text:
                given["prompt_embeds"].mul_(1)  # torch counts it as written to
        return given

    with daam.trace(pipeline, probe=probe) as tracer:
        picture = run(
            pipeline, "a red circle", num_inference_steps=STEPS, callback_on_step_end=later,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        )  # fmt: skip
    return tracer, picture


@pytest.mark.parametrize("probe", ["", "grass"])
@pytest.mark.parametrize("change", CHANGES)
def test_maps_with_kept_keys_are_those_of_each_calls_own(
    change: str, probe: str, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer, picture = generated(CHANGES[change], probe=probe)
    with_kept = len(made)
    monkeypatch.setattr(kept_keys, "KEPT_BYTES", 0)
    other, same_picture = generated(CHANGES[change], probe=probe)
    assert (picture == same_picture).all()
    assert with_kept < len(made) - with_kept, "some were kept"
    for side in ("positive", "probe") if probe else ("positive",):
        one, two = (each.heat_maps(side=side) for each in (tracer, other))
        for word in one:
            np.testing.assert_allclose(one[word].values, two[word].values, rtol=1e-5)
    if change != "nothing":
        usual, _ = generated(nothing)
        assert np.abs(usual.heat_maps()["circle"].values / tracer.heat_maps()["circle"].values - 1).max() > 1e-3


def test_the_keys_of_a_layer_are_made_when_they_change_and_not_otherwise(made: list[int]) -> None:
    """In the first two calls, and where they change in the next one, to be kept after it."""
    counts = {}
    for name in ("nothing", "change_weight", "change_hook"):
        made.clear()
        generated(CHANGES[name])
        counts[name] = list(made)
    a_call = counts["nothing"][: len(counts["nothing"]) // 2]
    assert counts["nothing"] == 2 * a_call
    assert counts["change_weight"] == 3 * a_call, "all others are let go with it"
    assert sum(counts["change_hook"]) > sum(2 * a_call), "beside a hook of another's nothing is known"


def test_a_text_that_is_written_to_lets_go_of_all(made: list[int]) -> None:
    generated(nothing)
    usual = len(made)
    made.clear()
    generated(nothing, change_text=True)
    assert len(made) > usual


def changes_keys_only(attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
    """An attention processor that scales the keys where they stand."""
    context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
    key.mul_(0.5)
    query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
    mixed = nn.functional.scaled_dot_product_attention(query, key, value)
    return attn.to_out[0](mixed.transpose(1, 2).flatten(2))


def test_keys_that_a_model_begins_to_change_after_they_were_kept_are_told() -> None:
    tracer, _ = generated(lambda pipeline: process_with(pipeline, changes_keys_only))
    with pytest.raises(TraceError, match=r"changed the query or the key of .*attn2 after they were made"):
        tracer.heat_maps()


def test_no_more_is_kept_than_the_budget_and_nothing_after_the_end(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    original = kept_keys.KeptKeys.keep

    def keep(self: kept_keys.KeptKeys, *arguments: Any) -> None:
        original(self, *arguments)
        groups = {id(key.group): key.group.keys.nbytes for keys in self._of_rows.values() for key in keys.keys.values()}
        kept.append(sum(groups.values()))

    monkeypatch.setattr(kept_keys.KeptKeys, "keep", keep)
    whole, _ = generated(nothing)
    most, without = max(kept), len(made)
    assert not whole._capture._engine._kept._of_rows
    monkeypatch.setattr(kept_keys, "KEPT_BYTES", most // 2)
    made.clear()
    kept.clear()
    part, _ = generated(nothing)
    assert 0 < max(kept) <= most // 2 and len(made) > without
    assert (part.heat_maps()["circle"].values == whole.heat_maps()["circle"].values).all()


def test_layers_of_several_groups_are_put_together_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, projection = kept_keys.KeptKeys(), nn.Linear(2, 2)
    given = torch.zeros(1)
    keys.begin_call("rows", given)
    first, second = torch.randn(4, 3, 5), torch.randn(2, 3, 5)
    keys.keep({"a": lambda: (projection.weight,), "b": lambda: (projection.weight,)}, first)
    keys.keep({"c": lambda: (projection.weight,)}, second)
    of = {layer: keys.again(layer) for layer in "abc"}

    def together(layers: str) -> Tensor:
        return keys.of_layers(tuple(layers), [of[layer] for layer in layers])

    assert torch.equal(together("ab"), first)
    joined = together("ca")
    assert torch.equal(joined, torch.cat([second, first[:2]]))
    assert together("ca") is joined, "the next call need not put them together"
    assert torch.equal(together("ba"), torch.cat([first[2:], first[:2]]))
    monkeypatch.setattr(kept_keys, "KEPT_BYTES", keys._held_bytes() - 1)
    assert torch.equal(together("ac"), torch.cat([first[:2], second])) and together("ac") is not together("ac")
    keys.begin_call("other rows", given)
    assert keys.again("a") is None
    keys.begin_call("rows", given)
    assert keys.again("a") is of["a"]
    keys.begin_call("rows", given.clone())
    assert keys.again("a") is None
