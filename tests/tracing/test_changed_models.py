"""A model that is changed before the trace is traced as it is; one that is changed during it is told, not guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import daam
from daam.errors import SettingError, TraceError
from tests.pipelines import run, sd1


class Adapter(nn.Module):
    """A LoRA as peft adds it: a module in the place of the projection, around it."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.extra = nn.Linear(base.in_features, base.out_features, bias=False)
        self.extra.weight.data.normal_(std=0.5, generator=torch.Generator().manual_seed(0))

    def forward(self, context: Tensor) -> Tensor:
        return self.base(context) + self.extra(context)


def attention(pipeline: Any) -> Any:
    return pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn2


def add_adapter(pipeline: Any) -> None:
    attention(pipeline).to_k = Adapter(attention(pipeline).to_k)


def add_to_weight(pipeline: Any) -> None:
    with torch.no_grad():
        attention(pipeline).to_k.weight += Adapter(attention(pipeline).to_k).extra.weight


def mid_map(pipeline: Any) -> np.ndarray:
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle")
    return tracer.heat_maps().select(layers="mid_block.*")["circle"].values


def test_an_adapter_and_a_changed_weight_change_the_maps_alike() -> None:
    plain, adapted, weighted = sd1(), sd1(), sd1()
    add_adapter(adapted)
    add_to_weight(weighted)
    before, with_adapter, with_weight = (mid_map(pipeline) for pipeline in (plain, adapted, weighted))
    np.testing.assert_allclose(with_adapter, with_weight, rtol=1e-5, atol=1e-5 * before.max())
    assert np.abs(with_adapter - before).max() > 1e-3 * before.max()


CHANGES: dict[str, Callable[[Any], None]] = {
    "adapter": add_adapter,
    "fusing": lambda pipeline: pipeline.unet.fuse_qkv_projections(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_projections_that_are_replaced_during_the_trace_are_told(change: str) -> None:
    pipeline, same = sd1(), sd1()
    CHANGES[change](same)
    with daam.trace(pipeline) as tracer:
        CHANGES[change](pipeline)
        picture = run(pipeline, "a circle")
    assert (picture == run(same, "a circle")).all()
    with pytest.raises(TraceError, match="projections were replaced"):
        tracer.heat_maps()
    with tracer:
        run(pipeline, "a circle")
    assert tracer.heat_maps()["circle"].values.max() > 0


def bypass(attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
    """An attention processor that reads the weights and never calls the projections."""
    context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    query, key, value = (
        functional.linear(source, projection.weight).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for source, projection in ((hidden_states, attn.to_q), (context, attn.to_k), (context, attn.to_v))
    )
    mixed = functional.scaled_dot_product_attention(query, key, value)
    return attn.to_out[0](mixed.transpose(1, 2).flatten(2))


def test_a_processor_that_bypasses_the_projections_is_told() -> None:
    pipeline = sd1()
    for module in pipeline.unet.modules():
        if hasattr(module, "set_processor"):
            module.set_processor(bypass)
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle")
    with pytest.raises(TraceError, match="do not call `to_q` and `to_k`"):
        tracer.heat_maps()


def test_a_context_that_was_not_made_from_the_prompt_is_told() -> None:
    pipeline = sd1()
    table = _table(pipeline, "a very red circle")
    with daam.trace(pipeline) as tracer:
        tracer.expect([table])
        embeddings = torch.zeros(1, 3, 32)
        run(pipeline, None, prompt_embeds=embeddings, guidance_scale=1.0)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="expected at least 6 context columns"):
        tracer.heat_maps()


def test_tables_must_be_as_many_as_the_pictures() -> None:
    pipeline = sd1()
    table = _table(pipeline, "a circle")
    with daam.trace(pipeline) as tracer, pytest.raises(SettingError, match="2 negative tables"):
        tracer.expect([table, table], [table])
    with daam.trace(pipeline) as tracer:
        tracer.expect([table] * 3)
        run(pipeline, None, prompt_embeds=torch.zeros(1, 77, 32), negative_prompt_embeds=torch.zeros(1, 77, 32))  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="expected positive embeddings for 3 pictures, got 1"):
        tracer.heat_maps()


def _table(pipeline: Any, prompt: str) -> Any:
    with daam.trace(pipeline) as tracer:
        run(pipeline, prompt, num_inference_steps=1)
    return tracer.heat_maps().table


@pytest.mark.parametrize("keep", ["heads", ("steps", "heads")])
def test_maps_may_be_asked_for_midway_and_stay_as_they_were(keep: Any) -> None:
    pipeline, seen, kept = sd1(), [], []

    def look(_pipeline: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(tracer.heat_maps()["circle"].values.copy())
        kept.append(tracer.image_trace())
        return {}

    with daam.trace(pipeline, keep=keep) as tracer:
        run(pipeline, "a circle", num_inference_steps=3, callback_on_step_end=look)
    whole = tracer.heat_maps()
    for step, (values, trace) in enumerate(zip(seen, kept)):
        maps = daam.HeatMaps(trace)
        assert (maps["circle"].values == values).all() and trace.calls == step + 1
        np.testing.assert_allclose(maps.select(heads=[0, 1, 2, 3])["circle"].values, values, rtol=1e-5)
        if "steps" in keep:
            np.testing.assert_allclose(whole.select(steps=(0, step))["circle"].values, values, rtol=1e-5)
            assert next(iter(trace.texts.values())).steps == list(range(step + 1))
