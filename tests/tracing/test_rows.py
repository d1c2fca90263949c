"""Every picture of a batch gets the maps of its own prompt, of both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

import daam
from daam.errors import NotKeptError, SettingError, TermError
from daam.tracing import layout
from tests.pipelines import FAMILIES, run, sd1

PROMPTS = ["a cute red circle", "a square"]
NEGATIVES = ["ugly", "blurry sky"]


def traced(pipeline: Any, prompt: Any, *, seeds: list[int], keep: Any = (), terms: str = "", **options: Any) -> Any:
    latents = torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    with daam.trace(pipeline, keep=keep, terms=terms) as tracer:
        run(pipeline, prompt, latents=latents, **options)
    return tracer


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_of_a_batch_has_the_maps_it_has_alone(family: str, guidance_scale: float) -> None:
    pipeline, options = FAMILIES[family](), {"guidance_scale": guidance_scale}
    both = traced(pipeline, PROMPTS, seeds=[0, 1], negative_prompt=NEGATIVES, **options)
    assert both.images == 2
    for image, (prompt, negative) in enumerate(zip(PROMPTS, NEGATIVES)):
        alone = traced(pipeline, prompt, seeds=[image], negative_prompt=negative, **options)
        for side in ("positive", "negative") if guidance_scale > 1 else ("positive",):
            own, single = both.heat_maps(image, side=side), alone.heat_maps(side=side)
            assert list(own) == list(single) and len(own) > 0
            for word in own:
                np.testing.assert_allclose(own[word].values, single[word].values, rtol=1e-4)


def test_several_images_per_prompt_come_prompt_by_prompt() -> None:
    tracer = traced(sd1(), PROMPTS, seeds=[0, 1, 2, 3], num_images_per_prompt=2, negative_prompt=NEGATIVES)
    assert [list(tracer.heat_maps(image))[-1] for image in range(4)] == ["circle", "circle", "square", "square"]
    first, second = (tracer.heat_maps(image)["circle"].values for image in (0, 1))
    assert (first != second).any()


def test_without_guidance_there_are_no_maps_of_the_negative_prompt() -> None:
    tracer = traced(sd1(), "a circle", seeds=[0], guidance_scale=1.0, negative_prompt="ugly")
    assert tracer.heat_maps()["circle"].values.max() > 0
    with pytest.raises(TermError, match="never active"):
        tracer.heat_maps(side="negative")["ugly"]


def test_guidance_that_ends_midway_leaves_the_negative_prompt_its_steps() -> None:
    def end_guidance(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            pipeline._guidance_scale = 0.0
            tensors["prompt_embeds"] = tensors["prompt_embeds"][1:]
        return tensors

    tracer = traced(
        sd1(), "a circle", seeds=[0], negative_prompt="ugly", num_inference_steps=3, guidance_scale=5.0,
        callback_on_step_end=end_guidance, callback_on_step_end_tensor_inputs=["prompt_embeds"],
    )  # fmt: skip
    counts = {key.side: set(maps.counts.values()) for key, maps in tracer.image_trace(0).texts.items()}
    assert counts == {"negative": {1}, "positive": {3}}


def test_a_batch_from_pictures_comes_prompt_by_prompt() -> None:
    pipeline = StableDiffusionImg2ImgPipeline(**sd1().components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    with daam.trace(pipeline) as tracer:
        images = torch.rand(2, 3, 64, 72)
        pipeline(PROMPTS, image=images, strength=0.9, num_inference_steps=2, negative_prompt=NEGATIVES)
    assert [list(tracer.heat_maps(image))[-1] for image in (0, 1)] == ["circle", "square"]
    assert tracer.heat_maps(1, side="negative")["sky"].values.shape == (64, 72)


def test_rows_without_words_cost_nothing() -> None:
    tracer = traced(sd1(), "a circle", seeds=[0])
    assert {key.side for key in tracer.image_trace(0).texts} == {"positive"}


def test_only_rows_with_words_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are the negative prompts of both pictures, then the positive ones."""
    rows: list[int] = []

    original = layout.by_head

    def counting(*arguments: Any) -> torch.Tensor:
        view = original(*arguments)
        rows.append(view.shape[1])
        return view

    monkeypatch.setattr(layout, "by_head", counting)
    pipeline = sd1()
    for prompts, negatives, wanted in [
        (PROMPTS, None, 2), (PROMPTS, ["ugly", ""], 3), (PROMPTS, ["", "ugly"], 3), (["", "a cat"], None, 1),
        (["a cat", ""], ["ugly", ""], 2), (["", ""], None, 0),
    ]:  # fmt: skip
        rows.clear()
        tracer = traced(pipeline, prompts, seeds=[0, 1], negative_prompt=negatives)
        assert set(rows) == ({wanted} if wanted else set())
        assert [len(tracer.heat_maps(image)) for image in (0, 1)] == [len(prompt.split()) for prompt in prompts]


def test_a_change_of_the_key_projection_changes_the_maps() -> None:
    """As a LoRA does: what counts is the key that was really used."""
    pipeline = sd1()
    before = traced(pipeline, "a circle", seeds=[0]).heat_maps()["circle"].values
    hook = (
        pipeline.unet.mid_block.attentions[0]
        .transformer_blocks[0]
        .attn2.to_k.register_forward_hook(lambda module, inputs, output: output * 3)
    )
    after = traced(pipeline, "a circle", seeds=[0]).heat_maps().select(layers="mid_block.*")["circle"].values
    hook.remove()
    plain = traced(pipeline, "a circle", seeds=[0]).heat_maps()
    assert (plain["circle"].values == before).all()
    assert np.abs(after - plain.select(layers="mid_block.*")["circle"].values).max() > 1e-4


def kept_bytes(tracer: Any) -> int:
    texts = tracer.image_trace(0).texts.values()
    return sum(maps.untyped_storage().nbytes() for text in texts for maps in text.sums.values())


def test_memory_does_not_depend_on_the_number_of_steps() -> None:
    pipeline = sd1()
    few, many = (traced(pipeline, PROMPTS[0], seeds=[0], num_inference_steps=steps) for steps in (2, 6))
    assert (
        kept_bytes(few) == kept_bytes(many) == 6 * 4 * (3 * 64 + 16)
    )  # words and marks, bytes, positions of four layers
    counts = next(iter(many.image_trace(0).texts.values())).counts
    assert set(counts.values()) == {6}


@pytest.mark.parametrize("keep", ["steps", "heads", ("steps", "heads")])
def test_kept_axes_sum_to_the_whole(keep: Any) -> None:
    tracer = traced(sd1(), PROMPTS[0], seeds=[0], keep=keep, terms="circle, cute", num_inference_steps=3)
    whole = tracer.heat_maps()["circle"].values
    axes = [keep] if isinstance(keep, str) else keep
    steps, heads = [{"steps": (step, step)} for step in range(3)], [{"heads": [head]} for head in range(4)]
    ranges: dict[str, list[dict[str, Any]]] = {"steps": steps, "heads": heads}
    for axis in axes:
        parts = [tracer.heat_maps().select(**choice)["circle"].values for choice in ranges[axis]]
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-3)  # each part is clipped at 0 by itself
        assert (parts[0] != parts[1]).any()
    with pytest.raises(TermError, match="name it in the `terms`"):
        tracer.heat_maps().select(**ranges[axes[0]][0])["red"]


def test_heads_and_steps_that_were_not_there_are_named() -> None:
    maps = traced(sd1(), PROMPTS[0], seeds=[0], keep=("steps", "heads")).heat_maps()
    for heads in ([4], [-1], [0, 99], []):
        with pytest.raises(SettingError, match=r"heads: expected numbers of 0\.\.3"):
            maps.select(heads=heads)
    for steps in ((2, 3), (1, 0), (-1, 0), (0, 2)):
        with pytest.raises(SettingError, match=r"steps: expected first and last of 0\.\.1"):
            maps.select(steps=steps)


def test_layers_and_resolutions_sum_to_the_whole() -> None:
    maps = traced(sd1(), PROMPTS[0], seeds=[0]).heat_maps()
    for parts in (
        [maps.select(layers=f"{name}_block*") for name in ("down", "mid", "up")],
        [maps.select(resolutions=[size]) for size in ((8, 8), (4, 4))],
        [maps.select(layers=name) for name in maps.layers],
    ):
        np.testing.assert_allclose(sum(part["circle"].values for part in parts), maps["circle"].values, rtol=1e-3)
    with pytest.raises(SettingError, match="no layer is left"):
        maps.select(layers="nothing.*")


@pytest.mark.parametrize("axis, choice", [("steps", (0, 0)), ("heads", [0])])
def test_what_was_not_kept_names_the_option_to_set(axis: str, choice: Any) -> None:
    maps = traced(sd1(), PROMPTS[0], seeds=[0]).heat_maps()
    with pytest.raises(NotKeptError, match=f'keep="{axis}"'):
        maps.select(**{axis: choice})
