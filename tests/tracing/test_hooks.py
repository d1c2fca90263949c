"""Hooks come and go with the `with` block, and no fault of ours costs the picture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import daam
from daam.errors import SettingError, ShapeError, TraceError
from daam.tracing.engine import Engine
from daam.tracing.families import find_family
from daam.tracing.families.cross_attention import find_cross_attention_layers
from daam.tracing.families.joint import Joint
from tests.pipelines import run, sd1


def hooks(pipeline: Any) -> int:
    parts = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for part in parts for m in part.modules())


def test_no_hook_is_left_after_a_normal_run() -> None:
    pipeline = sd1()
    with daam.trace(pipeline):
        assert hooks(pipeline) > 0 and "encode_prompt" in vars(pipeline)
        run(pipeline, "a circle")
    assert hooks(pipeline) == 0 and "encode_prompt" not in vars(pipeline)


@pytest.mark.parametrize("error", [RuntimeError("in the middle"), KeyboardInterrupt()])
def test_no_hook_is_left_after_an_error_in_the_middle_of_a_step(error: BaseException) -> None:
    pipeline = sd1()

    def fail(*_: Any) -> None:
        raise error

    handle = pipeline.unet.mid_block.register_forward_hook(fail)
    with pytest.raises(type(error)), daam.trace(pipeline):
        run(pipeline, "a circle")
    handle.remove()
    assert hooks(pipeline) == 0 and "encode_prompt" not in vars(pipeline)
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle")
    assert tracer.heat_maps()["circle"].values.max() > 0


def test_a_bad_argument_leaves_no_hook() -> None:
    pipeline = sd1()
    for bad in ("layers", ["steps", "layers"], None, 1):
        with pytest.raises(SettingError, match="keep: expected .steps., .heads., .refined."):
            daam.trace(pipeline, keep=bad)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="expected a diffusers pipeline"):
        daam.trace(nn.Linear(1, 1))
    assert hooks(pipeline) == 0


def test_nested_traces_both_see_everything_and_leave_nothing() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as outer, daam.trace(pipeline) as inner:
        run(pipeline, "a circle")
    first, second = (tracer.heat_maps()["circle"].values for tracer in (outer, inner))
    assert (first == second).all() and first.max() > 0
    assert hooks(pipeline) == 0 and "encode_prompt" not in vars(pipeline)


def test_traces_may_end_in_any_order() -> None:
    pipeline = sd1()
    first, second = daam.trace(pipeline), daam.trace(pipeline)
    first.__enter__()
    second.__enter__()
    run(pipeline, "a circle")
    first.__exit__(None, None, None)
    run(pipeline, "a square")
    second.__exit__(None, None, None)
    run(pipeline, "a triangle")
    assert [list(tracer.heat_maps())[-1] for tracer in (first, second)] == ["circle", "square"]
    assert hooks(pipeline) == 0 and "encode_prompt" not in vars(pipeline)


def test_a_pipelines_own_encode_prompt_comes_back() -> None:
    pipeline, seen = sd1(), []
    original = pipeline.encode_prompt

    def encode_prompt(prompt: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(prompt)
        return original(prompt, *arguments, **named)

    pipeline.encode_prompt = encode_prompt
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle")
    assert pipeline.encode_prompt is encode_prompt and seen == ["a circle"]
    assert list(tracer.heat_maps()) == ["a", "circle"]


def test_a_tracer_cannot_be_entered_twice_at_once_but_again_later() -> None:
    pipeline = sd1()
    tracer = daam.trace(pipeline)
    with tracer:
        with pytest.raises(TraceError, match="already watching"), tracer:
            pass
        run(pipeline, "a circle")
    first = tracer.heat_maps()["circle"].values
    with tracer:
        run(pipeline, "a square")
    assert list(tracer.heat_maps()) == ["a", "square"] and first.max() > 0
    assert hooks(pipeline) == 0


def test_the_last_generation_counts() -> None:
    with daam.trace(pipeline := sd1()) as tracer:
        run(pipeline, "a circle")
        run(pipeline, "a square", num_inference_steps=3)
    assert list(tracer.heat_maps()) == ["a", "square"]
    assert tracer.image_trace(0).calls == 3


def test_a_fault_in_a_hook_is_told_once_and_never_costs_the_picture(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = sd1()
    before = run(pipeline, "a circle")

    def fail(*_: Any) -> None:
        raise MemoryError("no memory for maps")

    monkeypatch.setattr(Engine, "see", fail)
    with caplog.at_level(logging.WARNING), daam.trace(pipeline) as tracer:
        assert (run(pipeline, "a circle") == before).all()
    assert [record.levelname for record in caplog.records if record.name.startswith("daam")] == ["WARNING"]
    with pytest.raises(TraceError, match="no memory for maps"):
        tracer.heat_maps()
    assert hooks(pipeline) == 0


def test_a_fault_in_reading_the_prompts_never_costs_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = sd1()
    before = run(pipeline, "a circle")
    monkeypatch.setattr("daam.hosts.diffusers_prompts.plain_table", lambda *_: 1 / 0)
    with daam.trace(pipeline) as tracer:
        assert (run(pipeline, "a circle") == before).all()
    with pytest.raises(TraceError, match="division by zero"):
        tracer.heat_maps()


def test_tracing_nothing_is_an_error_that_says_so() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        pass
    with pytest.raises(TraceError, match="no prompt was seen and the model was not called"):
        tracer.heat_maps()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle")
    with pytest.raises(TraceError, match=r"image of 0\.\.0, got 1"):
        tracer.heat_maps(1)


def test_a_prompt_that_was_read_is_not_said_to_be_missing() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        pipeline.encode_prompt("a circle", "cpu", 1, False)
    with pytest.raises(TraceError, match="a prompt was read, but no call of the pipeline's model came to its end"):
        tracer.heat_maps()


def test_our_own_errors_are_told_without_the_name_of_their_type(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        monkeypatch.setattr(Engine, "see", _raise_shape_error)
        run(pipeline, "a circle")
    with pytest.raises(TraceError) as caught:
        tracer.heat_maps()
    assert str(caught.value) == "the trace stopped: expected another size"


def _raise_shape_error(*_: Any) -> Any:
    raise ShapeError("expected another size")


def test_embeddings_without_tables_are_no_stale_maps() -> None:
    pipeline = sd1()
    embeddings = pipeline.encode_prompt("a circle", "cpu", 1, False)[0]
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a square")
        run(pipeline, None, prompt_embeds=embeddings, guidance_scale=1.0)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="expect"):
        tracer.heat_maps()


def test_embeddings_with_tables_are_traced() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle", guidance_scale=1.0)
    known = tracer.heat_maps()
    embeddings = pipeline.encode_prompt("a circle", "cpu", 1, False)[0]
    with tracer:
        tracer.expect([known.table])
        run(pipeline, None, prompt_embeds=embeddings, guidance_scale=1.0)  # type: ignore[arg-type]
    assert (tracer.heat_maps()["circle"].values == known["circle"].values).all()


COMPILED: dict[str, Callable[[Any], None]] = {
    "torch.compile": lambda pipe: setattr(pipe, "unet", torch.compile(pipe.unet)),
    "one block": lambda pipe: pipe.unet.mid_block.compile(),
    "by hand": lambda pipe: setattr(pipe.unet, "_compiled_call_impl", pipe.unet.forward),
}


@pytest.mark.parametrize("how", COMPILED)
def test_a_compiled_model_is_detected(how: str) -> None:
    pipeline = sd1()
    COMPILED[how](pipeline)
    with pytest.raises(TraceError, match="compile"):
        daam.trace(pipeline)


def test_what_is_compiled_inside_of_the_trace_is_traced_alike() -> None:
    """A block, since a whole model takes minutes to compile."""
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        before = run(pipeline, "a circle")
    expected = tracer.heat_maps().select(layers="mid_block.*")["circle"].values
    with daam.trace(pipeline) as tracer:
        pipeline.unet.mid_block.compile(backend="eager")  # the graph and its breaks, without a compiler
        assert (run(pipeline, "a circle") == before).all()
    assert (tracer.heat_maps().select(layers="mid_block.*")["circle"].values == expected).all()
    with pytest.raises(TraceError, match="compile it inside of the trace"):
        tracer.__enter__()


def test_an_unknown_joint_attention_model_is_refused_in_one_sentence() -> None:
    diffusers = pytest.importorskip("diffusers", minversion="0.30", reason="no AuraFlow")
    model = diffusers.AuraFlowTransformer2DModel(
        sample_size=8, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, caption_projection_dim=16, pos_embed_max_size=16,
    )  # fmt: skip
    with pytest.raises(TraceError, match=r"known \(Flux, .*\); AuraFlowTransformer2DModel has none"):
        find_family(model)


def test_the_second_attention_of_sd3_is_no_cross_attention() -> None:
    diffusers = pytest.importorskip("diffusers", minversion="0.31", reason="no SD3 with two attentions")
    model = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=16, out_channels=4,
        dual_attention_layers=(0,),
    )  # fmt: skip
    assert any(name.endswith("attn2") for name, _ in model.named_modules())
    assert find_cross_attention_layers(model) == [] and isinstance(find_family(model), Joint)


def test_a_model_of_videos_is_refused_with_the_reason() -> None:
    diffusers = pytest.importorskip("diffusers", minversion="0.33", reason="no Wan")
    model = diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16, ffn_dim=16,
        num_layers=1,
    )  # fmt: skip
    with pytest.raises(TraceError, match="got WanTransformer3DModel: a video's frames share one text"):
        find_family(model)


def test_layers_are_found_by_structure_in_the_order_of_the_model() -> None:
    names = [layer.name for layer in find_cross_attention_layers(sd1().unet)]
    assert [name.split(".")[0] for name in names] == ["down_blocks", "up_blocks", "up_blocks", "mid_block"]
    assert all(name.endswith("attn2") for name in names)
