"""Which text stands behind a row is seen from what conditions it: every case against an independent computation."""

from __future__ import annotations

import copy
import functools
import logging
import threading
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import daam
from daam.errors import SettingError, TraceError
from daam.tracing.conditioning import Conditioned, ConditioningBook, RowWitness, assign
from tests.pipelines import as_kind, run, sd1, sdxl
from tests.truth import truth_of

PROMPT, NEGATIVE = "a red circle", "an ugly square"


def pag(pipeline: Any) -> Any:
    pytest.importorskip("diffusers", minversion="0.30", reason="no pipelines of perturbed-attention guidance")
    return diffusers.StableDiffusionPAGPipeline(
        **pipeline.components, requires_safety_checker=False, pag_applied_layers=["mid"]
    )


@pytest.mark.parametrize(
    ("guidance", "row"), [(0.0, 0), (1.0, 0), (5.0, 1)], ids=["no guidance", "scale 1", "with guidance"]
)
def test_perturbed_attention_guidance_gives_the_pictures_own_row(guidance: float, row: int) -> None:
    pipeline = pag(sd1())
    pipeline.set_progress_bar_config(disable=True)
    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT, guidance_scale=guidance, pag_scale=3.0, negative_prompt=NEGATIVE)
    truth.check(tracer, row, [1, 2, 3])


def test_a_further_pass_at_the_same_step_is_not_counted() -> None:
    pipeline = as_kind(diffusers.StableDiffusionSAGPipeline, sd1(attention_head_dim=4))
    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT, guidance_scale=1.0, sag_scale=0.75)
    truth.check(tracer, 0, [1, 2, 3], calls=slice(0, None, 2))
    assert tracer.notes[0].startswith("2 of 4 model calls looked again at a text of the same step")


@pytest.mark.parametrize("side", [64, 256], ids=["smaller than the picture", "as large as the picture"])
def test_the_maps_of_a_crop_lie_where_it_is_pasted(side: int) -> None:
    """Before 0.28 diffusers pasted the crop into a picture of the size that was generated, at the same place."""
    pipeline = as_kind(diffusers.StableDiffusionInpaintPipeline)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8))
    mask = np.zeros((256, 256), np.uint8)
    mask[160:192, 168:208] = 255
    with daam.trace(pipeline) as tracer:
        made = pipeline(
            PROMPT, image=picture, mask_image=Image.fromarray(mask), padding_mask_crop=8, height=side, width=side,
            num_inference_steps=2, strength=1.0, generator=torch.Generator().manual_seed(0),
        ).images[0]  # fmt: skip
    values = tracer.heat_maps()["circle"].values
    assert values.shape == (made.height, made.width)
    if made.size != picture.size:
        assert made.size == (side, side) and values.max() == 0  # the crop was pasted beyond the edge
        return
    changed = np.abs(np.asarray(made, int) - np.asarray(picture, int)).sum(axis=2) > 0
    left, top, width, height = tracer.image_trace().region
    inside = np.zeros_like(changed)
    inside[top : top + height, left : left + width] = True
    assert changed.any() and inside[changed].all() and width < 128
    assert values[~inside].max() == 0 and values[inside].max() > 0


def test_a_text_that_a_callback_puts_in_is_not_counted() -> None:
    pipeline = sd1()
    other = pipeline.encode_prompt(PROMPT, "cpu", 1, True, negative_prompt="")[0] + 1.0

    def swap(pipe: Any, step: int, _time: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"prompt_embeds": other} if step == 1 else {}

    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        run(
            pipeline, PROMPT, guidance_scale=1.0, num_inference_steps=4, callback_on_step_end=swap,
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        )  # fmt: skip
    truth.check(tracer, 0, [1, 2, 3], calls=slice(0, 2))
    assert ["2 rows of 4 model calls were conditioned by something else" in note for note in tracer.notes] == [True]


def test_a_second_prompt_of_sdxl_is_said() -> None:
    pipeline = sdxl()
    with daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT, prompt_2="a green tree")
    assert list(tracer.heat_maps()) == ["a", "red", "circle"]
    assert ["'a green tree'" in note for note in tracer.notes] == [True]
    with daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT)
    assert tracer.notes == []


def test_a_copy_made_inside_the_trace_leaves_the_original_alone(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = sd1()
    with caplog.at_level(logging.WARNING), daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT)
        copied = copy.deepcopy(pipeline)
        before = tracer.heat_maps()["circle"].values
        pictures = run(copied, "a cat")
    assert list(tracer.heat_maps()) == ["a", "red", "circle"]
    assert (tracer.heat_maps()["circle"].values == before).all()
    assert (run(copied, "a cat") == pictures).all() and not caplog.records
    with daam.trace(copied) as own:
        run(copied, "a cat")
    assert list(own.heat_maps()) == ["a", "cat"] and own.heat_maps()["cat"].values.max() > 0
    assert (tracer.heat_maps()["circle"].values == before).all()


def test_another_pipeline_with_the_same_unet_is_not_counted() -> None:
    pipeline = sd1()
    other = diffusers.StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    with daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT)
        before = tracer.heat_maps()["circle"].values
        other("a cat on grass", image=Image.new("RGB", (64, 64)), num_inference_steps=4, guidance_scale=1.0)
    assert (tracer.heat_maps()["circle"].values == before).all()


def test_pipelines_in_several_threads_may_share_a_unet() -> None:
    pipeline = sd1()
    other = diffusers.StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
    other.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    other.set_progress_bar_config(disable=True)
    with daam.trace(pipeline) as alone:
        pictures = run(pipeline, PROMPT, num_inference_steps=8)
    made: list[Any] = []
    for _attempt in range(4):  # without any trace, one in thirty such pictures differs from the one that was made alone
        with daam.trace(pipeline) as tracer, daam.trace(other) as beside:
            first = threading.Thread(target=lambda: made.append(run(pipeline, PROMPT, num_inference_steps=8)))
            second = threading.Thread(target=lambda: run(other, "a cat", num_inference_steps=9))
            for thread in (first, second):
                thread.start()
            for thread in (first, second):
                thread.join()
        if (made[-1] == pictures).all():
            break
    assert (made[-1] == pictures).all()
    assert (tracer.heat_maps()["circle"].values == alone.heat_maps()["circle"].values).all()
    assert tracer.notes == beside.notes == [] and list(beside.heat_maps()) == ["a", "cat"]


def test_expected_texts_may_be_plain() -> None:
    pipeline = sd1()
    positive, negative = pipeline.encode_prompt(PROMPT, "cpu", 2, True, negative_prompt=NEGATIVE)
    settings = {"prompt_embeds": positive, "negative_prompt_embeds": negative}
    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        tracer.expect([PROMPT] * 2, [NEGATIVE] * 2)
        run(pipeline, None, **settings)  # type: ignore[arg-type]
    truth.check(tracer, 3, [1, 2, 3], image=1)
    assert tracer.heat_maps(side="negative")["ugly"].values.max() > 0
    for wrong in ("a red circle", [3]):
        with pytest.raises(SettingError, match="expected a"):
            tracer.expect(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [1, 2])
def test_equal_prompts_on_both_sides_are_told_apart_by_the_order_of_pipelines(images: int) -> None:
    pipeline = sd1()
    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT, negative_prompt=PROMPT, num_images_per_prompt=images)
    for image in range(images):
        truth.check(tracer, images + image, [1, 2, 3], image=image)


def test_embeddings_of_something_else_are_named() -> None:
    pipeline = sd1()
    embeddings = pipeline.encode_prompt("a cat", "cpu", 1, False)[0]

    class Stubborn(type(pipeline)):  # type: ignore[misc]
        """Conditions the model with a text that it never encoded in the open."""

        @functools.wraps(diffusers.StableDiffusionPipeline.encode_prompt)
        def encode_prompt(self, *arguments: Any, **named: Any) -> Any:
            found = super().encode_prompt(*arguments, **named)
            self.unet.register_forward_pre_hook(
                lambda _unet, given, by_name: (given, {**by_name, "encoder_hidden_states": embeddings}),
                with_kwargs=True, prepend=True,
            )  # fmt: skip
            return found

    stubborn = Stubborn(**pipeline.components, requires_safety_checker=False)
    stubborn.set_progress_bar_config(disable=True)
    with daam.trace(stubborn) as tracer:
        run(stubborn, PROMPT, guidance_scale=1.0)
    with pytest.raises(TraceError, match="conditioned no row of the model's calls, and 2 rows"):
        tracer.heat_maps()


def test_a_tensor_is_compared_once_and_again_after_it_was_written_to() -> None:
    book, context = ConditioningBook(), torch.randn(3, 4)
    book.learn(Conditioned(0, "positive"), context)
    given = torch.stack([torch.zeros(3, 4), context])
    assert book.candidates(given) == [[], [Conditioned(0, "positive")]]
    assert book.candidates(given) is book.candidates(given)
    given[1] += 1
    assert book.candidates(given) == [[], []]
    assert book.candidates(torch.randn(2, 5, 4)) == [[], []]


def test_rows_of_one_text_go_to_the_pictures_in_their_order() -> None:
    both = [Conditioned(0, "positive"), Conditioned(1, "positive")]
    assert assign([both, both, both], images=2, entry=0) == [*both, None]
    entries = [Conditioned(0, "positive", 2), Conditioned(0, "positive", 0)]
    assert assign([entries], images=1, entry=2) == [Conditioned(0, "positive", 2)]
    assert assign([entries], images=1, entry=1) == [Conditioned(0, "positive", 0)]


@pytest.mark.parametrize("change", ["none", "noise", "padding"])
def test_a_row_that_is_nearest_to_its_own_text_is_where_it_was_put(change: str) -> None:
    texts = [torch.randn(77, 8) for _ in range(3)]
    given = torch.stack(texts)
    if change == "noise":
        given = given + 0.3 * torch.randn_like(given)
    if change == "padding":
        given = torch.cat([given, given], dim=1)
    witness = RowWitness()
    witness.see(given, texts, texts)
    witness.see(given[1:], texts[1:], texts)
    witness.check()


def test_a_row_that_was_moved_is_named() -> None:
    texts = [torch.randn(77, 8) for _ in range(3)]
    witness = RowWitness()
    witness.see(torch.stack(texts), texts, texts)
    witness.see(torch.stack([texts[1], texts[0], texts[2]]), texts, texts)
    with pytest.raises(TraceError, match="from one to another"):
        witness.check()
    witness = RowWitness()
    witness.see(torch.stack([texts[1], texts[0]]), [texts[0], None], texts[:1])
    witness.check()  # nothing to tell apart


def test_a_row_that_is_conditioned_by_a_text_that_is_not_of_the_prompt_is_named() -> None:
    own, region = torch.randn(77, 8), torch.randn(77, 8)
    witness = RowWitness()
    witness.see(torch.stack([own + 0.1]), [own], [own], [region])
    witness.check()
    witness.see(torch.stack([region]), [own], [own], [region])
    with pytest.raises(TraceError, match="a text that is not the prompt"):
        witness.check()
