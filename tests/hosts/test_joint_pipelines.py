"""Pipelines with joint attention: the maps against full matrices, where text and image stand, untouched pictures."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import daam
from daam.errors import TraceError

pytest.importorskip("diffusers", minversion="0.42", reason="older ones lack some of these pipelines")

from tests import joint_pipelines as made
from tests.joint_models import JointTruth, joint_truth

HEIGHT, WIDTH, STEPS = 32, 48, 2
PROMPT, LONG, NEGATIVE = "a red circle", "a photo of two cat on the green grass", "a blue square"


@dataclass(frozen=True)
class Kind:
    """What the tests know of a kind by themselves.

    Attributes:
        settings: that a call always gets.
        guided: what makes it look at a negative prompt too; empty where it cannot.
        template: what stands before a positive prompt; negative_template: before a negative one.
        tokenizer: of the columns; dropped: how many of them are cut off; starts: special tokens at the beginning.
        before: columns before the tokenizer's.
        is_image_first, filled: whether the image's positions come first, and up to a multiple of what they are filled.
        is_ragged: each row's image begins where its own text ends.
        rows: of the positive and of the negative text, for one picture, in one call; () where each has its own call.
        layers: of joint attention.
        scale: pixels of the picture along each side of a position.
        others: positions of pictures to be like, which stand last.
    """

    make: Callable[[], Any]
    layers: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    guided: dict[str, Any] = field(default_factory=dict)
    template: Callable[[Any], str] = lambda pipeline: ""
    negative_template: Callable[[Any], str] | None = None
    tokenizer: str = "tokenizer"
    dropped: int = 0
    starts: int = 0
    before: int = 0
    is_image_first: bool = False
    filled: int = 1
    is_ragged: bool = False
    rows: tuple[int, ...] = ()
    scale: int = 4
    others: int = 0


def chat(pipeline: Any) -> str:
    return "<|im_start|>user\n"


def qwen_template(pipeline: Any) -> str:
    return str(pipeline.prompt_template_encode.split("{}")[0])


FLUX = ("transformer_blocks.0", "transformer_blocks.1", "single_transformer_blocks.0", "single_transformer_blocks.1")
SHORT = {"max_sequence_length": 24}
KINDS = {
    "Flux": Kind(made.flux, FLUX, SHORT, {"true_cfg_scale": 3.0}, tokenizer="tokenizer_2"),
    "Flux, guidance-distilled": Kind(made.flux_guided, FLUX, SHORT, tokenizer="tokenizer_2"),
    "Chroma": Kind(
        made.chroma, (FLUX[0], *FLUX[2:]), {**SHORT, "guidance_scale": 1.0}, {"guidance_scale": 3.0}
    ),
    "Stable Diffusion 3": Kind(
        made.sd3, FLUX[:2], {**SHORT, "guidance_scale": 1.0}, {"guidance_scale": 3.0}, tokenizer="tokenizer_3",
        before=77, is_image_first=True, rows=(1, 0),
    ),
    "Qwen-Image": Kind(
        made.qwen, FLUX[:2], {}, {"true_cfg_scale": 3.0}, template=qwen_template, dropped=34
    ),
    "Lumina 2": Kind(
        made.lumina, ("layers.0", "layers.1"), {"guidance_scale": 1.0}, {"guidance_scale": 3.0},
        template=lambda pipeline: pipeline.system_prompt + " <Prompt Start> ", negative_template=lambda pipeline: "",
        starts=0, is_ragged=True, scale=16,
    ),
    "Z-Image": Kind(
        made.z_image, ("layers.0", "layers.1"), {"guidance_scale": 0.0}, {"guidance_scale": 3.0}, template=chat,
        is_image_first=True, filled=32, rows=(0, 1),
    ),
    "Flux 2 Klein": Kind(
        made.klein, (FLUX[0], *FLUX[2:]),
        {"max_sequence_length": 64, "guidance_scale": 1.0, "text_encoder_out_layers": (0, 1, 2)},
        {"guidance_scale": 3.0}, template=chat,
    ),
}  # fmt: skip


MIXED = ("Lumina 2", "Qwen-Image")
"""Where diffusers mixes up the masks of several pictures of prompts of different lengths."""


def generate(kind: Kind, pipeline: Any, prompt: Any = PROMPT, **settings: Any) -> Any:
    """Pictures [image, height, width, 3]."""
    every = {"num_inference_steps": STEPS, "height": HEIGHT, "width": WIDTH, "output_type": "np"}
    generator = torch.Generator().manual_seed(3)
    own = {name: value for name, value in kind.settings.items() if name in signature(pipeline.__call__).parameters}
    return pipeline(prompt=prompt, generator=generator, **{**every, **own, **settings}).images


def is_clean(pipeline: Any) -> bool:
    attend = nn.functional.scaled_dot_product_attention
    modules = pipeline.transformer.modules()
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    wrapped = {"encode_prompt", "prepare_latents", "check_inputs"} & set(vars(pipeline))
    return isinstance(attend, types.BuiltinFunctionType) and not hooks and not wrapped


def tokens(kind: Kind, pipeline: Any, text: str) -> int:
    """How many tokens a text has, without what stands behind it."""
    tokenizer = getattr(pipeline, kind.tokenizer)
    count = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    return count + kind.starts


def column_of(kind: Kind, pipeline: Any, prompt: str, word: str, template: str) -> int:
    """The column of a word that is one token: as many as there are tokens before it."""
    before = template + prompt[: prompt.index(word)]
    return kind.before + tokens(kind, pipeline, before.rstrip(" ")) - kind.dropped


def grid(kind: Kind, height: int = HEIGHT, width: int = WIDTH) -> tuple[int, int]:
    return height // kind.scale, width // kind.scale


def expected_sum(
    kind: Kind, truth: JointTruth, layer: str, calls: slice, row: int, column: int, own: int, size: tuple[int, int]
) -> Tensor:
    """[height, width] of one token, over some calls of the model.

    Args: own: how many tokens the row's text has.
    """
    total = torch.zeros(size, dtype=torch.float64)
    for probabilities in truth.probabilities[layer][calls]:
        image, positions = size[0] * size[1], probabilities.shape[1]
        if kind.is_image_first:
            first, text = 0, -(-image // kind.filled) * kind.filled
        else:
            first, text = own if kind.is_ragged else positions - image - kind.others, 0
        total += probabilities[row, first : first + image, text + column].reshape(size)
    return total


def check(
    kind: Kind, pipeline: Any, truth: JointTruth, tracer: Any, prompt: str, *, image: int = 0, row: int = 0,
    side: Any = "positive", calls: slice = slice(None), size: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """The kept sums of each word of a prompt are those of the full matrices."""
    made_of = kind.template if side == "positive" or kind.negative_template is None else kind.negative_template
    template, size = made_of(pipeline), size or grid(kind)
    (text,) = (text for key, text in tracer.image_trace(image).texts.items() if key.side == side)
    assert list(text.sums) == list(kind.layers)
    own = tokens(kind, pipeline, template + prompt)
    maps = tracer.heat_maps(image, side=side)
    assert list(maps) == prompt.split()
    for word in prompt.split():
        column = column_of(kind, pipeline, prompt, word, template)
        place = text.text.columns.index(column)
        assert maps[word].places[0].columns[-1] == column
        assert prompt[slice(*maps[word].places[0].span)] == word
        for layer in kind.layers:
            expected = expected_sum(kind, truth, layer, calls, row, column, own, size)
            torch.testing.assert_close(text.sums[layer][place].double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_maps_are_those_of_the_full_matrices_and_the_picture_is_untouched(name: str) -> None:
    kind = KINDS[name]
    pipeline = kind.make()
    before = generate(kind, pipeline)
    with joint_truth(pipeline.transformer, kind.layers) as truth, daam.trace(pipeline) as tracer:
        traced = generate(kind, pipeline)
    assert np.array_equal(before, traced) and is_clean(pipeline)
    check(kind, pipeline, truth, tracer, PROMPT)
    maps = tracer.heat_maps()
    assert maps.picture_size == (HEIGHT, WIDTH) and maps["circle"].values.shape == (HEIGHT, WIDTH)
    assert maps.layers == dict.fromkeys(kind.layers, grid(kind)) and tracer.notes == []
    assert list(maps.select(layers=kind.layers[-1]).layers) == [kind.layers[-1]]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.guided])
def test_guided_by_a_negative_prompt_both_sides_have_their_own_maps(name: str) -> None:
    kind = KINDS[name]
    pipeline = kind.make()
    negative = "" if name == "Flux 2 Klein" else NEGATIVE
    settings = {**kind.guided, **({"negative_prompt": negative} if negative else {})}
    before = generate(kind, pipeline, **settings)
    tracer = daam.trace(pipeline, keep="steps", terms="circle")
    with joint_truth(pipeline.transformer, kind.layers) as truth, tracer:
        traced = generate(kind, pipeline, **settings)
    assert np.array_equal(before, traced) and is_clean(pipeline) and tracer.notes == []
    rows = kind.rows or (0, 0)
    calls = [slice(None)] * 2 if kind.rows else [slice(0, None, 2), slice(1, None, 2)]
    check(kind, pipeline, truth, tracer, PROMPT, row=rows[0], calls=calls[0])
    if negative:
        check(kind, pipeline, truth, tracer, NEGATIVE, side="negative", row=rows[1], calls=calls[1])
    else:
        assert list(tracer.heat_maps(side="negative")) == []
    trace = tracer.image_trace()
    steps = {step for text in trace.texts.values() for kept in text.details.values() for step in kept}
    assert trace.calls == STEPS and steps == set(range(STEPS))


@pytest.mark.parametrize("name", KINDS)
def test_prompts_of_different_lengths_in_one_batch_have_each_their_own_maps(name: str) -> None:
    kind = KINDS[name]
    pipeline, prompts = kind.make(), [PROMPT, LONG]
    copies = 1 if name in MIXED else 2
    settings: dict[str, Any] = {"num_images_per_prompt": copies}
    before = generate(kind, pipeline, list(prompts), **settings)
    with joint_truth(pipeline.transformer, kind.layers) as truth, daam.trace(pipeline) as tracer:
        traced = generate(kind, pipeline, list(prompts), **settings)
    assert np.array_equal(before, traced) and tracer.images == 2 * copies and tracer.notes == []
    for image in range(tracer.images):
        check(kind, pipeline, truth, tracer, prompts[image // copies], image=image, row=image)


def test_batches_of_both_sides_in_one_call_are_told_apart_by_their_contents() -> None:
    for name in ("Stable Diffusion 3", "Z-Image"):
        kind = KINDS[name]
        pipeline, prompts, negatives = kind.make(), [PROMPT, LONG], [NEGATIVE, "a green grass"]
        settings = {**kind.guided, "negative_prompt": list(negatives), "num_images_per_prompt": 2}
        with joint_truth(pipeline.transformer, kind.layers) as truth, daam.trace(pipeline) as tracer:
            generate(kind, pipeline, list(prompts), **settings)
        first = {"positive": 4 * kind.rows[0], "negative": 4 * kind.rows[1]}
        for image in range(4):
            for side, texts in (("positive", prompts), ("negative", negatives)):
                row = first[side] + image
                check(kind, pipeline, truth, tracer, texts[image // 2], image=image, row=row, side=side)


def test_masks_that_diffusers_mixes_up_are_said_and_the_maps_are_still_what_was_attended() -> None:
    kind = KINDS["Qwen-Image"]
    pipeline, prompts = kind.make(), [PROMPT, LONG]
    with joint_truth(pipeline.transformer, kind.layers) as truth, daam.trace(pipeline) as tracer:
        generate(kind, pipeline, list(prompts), num_images_per_prompt=2)
    assert "diffusers mixed up the masks" in tracer.notes[0]
    for image in range(4):
        check(kind, pipeline, truth, tracer, prompts[image // 2], image=image, row=image)


def test_a_text_of_which_diffusers_hides_the_end_is_refused_where_it_is_left_out() -> None:
    kind = KINDS["Lumina 2"]
    pipeline = kind.make()
    with daam.trace(pipeline) as tracer:
        generate(kind, pipeline, [PROMPT, LONG], num_images_per_prompt=2)
    with pytest.raises(TraceError, match="a part of the text only"):
        tracer.heat_maps()
