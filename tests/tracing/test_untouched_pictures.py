"""Tracing changes no bit of any picture, whatever the pipeline and its attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor

import daam
from tests.pipelines import FAMILIES, run, sd1, sdxl_refiner

BACKENDS: dict[str, Callable[[Any], None]] = {
    "sdpa": lambda pipe: pipe.unet.set_attn_processor(AttnProcessor2_0()),
    "plain": lambda pipe: pipe.unet.set_attn_processor(AttnProcessor()),
    "sliced": lambda pipe: pipe.unet.set_attn_processor(SlicedAttnProcessor(1)),
    "slicing": lambda pipe: pipe.enable_attention_slicing(),
    "fused": lambda pipe: pipe.unet.fuse_qkv_projections(),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_changes_with_any_attention(family: str, backend: str) -> None:
    pipeline = FAMILIES[family]()
    BACKENDS[backend](pipeline)
    before = run(pipeline, "a red circle", negative_prompt="ugly")
    with daam.trace(pipeline) as tracer:
        traced = run(pipeline, "a red circle", negative_prompt="ugly")
    assert (before == traced).all() and (run(pipeline, "a red circle", negative_prompt="ugly") == before).all()
    assert tracer.heat_maps()["circle"].values.max() > 0


def test_fused_projections_give_the_same_maps() -> None:
    maps = []
    for fused in (False, True):
        pipeline = sd1()
        if fused:
            pipeline.unet.fuse_qkv_projections()
        with daam.trace(pipeline) as tracer:
            run(pipeline, "a red circle")
        maps.append(tracer.heat_maps()["circle"].values)
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-6 * maps[0].max())


@pytest.mark.parametrize("keep", ["steps", "heads", ("steps", "heads")])
def test_no_bit_changes_when_more_is_kept(keep: Any) -> None:
    pipeline = sd1()
    before = run(pipeline, "a red circle")
    with daam.trace(pipeline, keep=keep):
        assert (run(pipeline, "a red circle") == before).all()


@pytest.mark.parametrize("height, width", [(520, 600), (512, 712), (72, 64), (64, 136)])
def test_every_multiple_of_8_has_maps_of_the_pictures_size(height: int, width: int) -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        pictures = run(pipeline, "a red circle", height=height, width=width, num_inference_steps=1)
    maps = tracer.heat_maps()
    assert pictures.shape[1:3] == (height, width) == maps["circle"].values.shape
    latent = (height // 8, width // 8)
    assert set(maps.layers.values()) == {latent, (-(-latent[0] // 2), -(-latent[1] // 2))}


def test_img2img_and_inpaint_are_traced_untouched() -> None:
    parts = sd1().components
    image, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    plain = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    inpaint = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
    nine = sd1(in_channels=9).components
    full = StableDiffusionInpaintPipeline(**nine, requires_safety_checker=False)
    for pipeline, extra in ((plain, {}), (inpaint, {"mask_image": mask}), (full, {"mask_image": mask})):
        check_untouched(pipeline, image=image, strength=0.9, num_inference_steps=3, **extra)


def test_sdxls_refiner_is_traced_untouched() -> None:
    check_untouched(sdxl_refiner(), image=torch.rand(1, 3, 64, 64), strength=0.9, num_inference_steps=3)


def check_untouched(pipeline: Any, **options: Any) -> None:
    pipeline.set_progress_bar_config(disable=True)

    def pictures() -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return pipeline("a red circle", generator=generator, output_type="np", **options).images

    before = pictures()
    with daam.trace(pipeline) as tracer:
        assert (pictures() == before).all()
    assert tracer.heat_maps()["circle"].values.shape == (64, 64)


def test_hooks_use_no_random_numbers_and_never_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = sd1()

    def refuse(*_: Any) -> None:
        raise AssertionError("a value was taken off the device")

    seen: list[bytes] = []
    pipeline.unet.register_forward_pre_hook(lambda *_: monkeypatch.setattr(torch.Tensor, "item", refuse))
    with daam.trace(pipeline) as tracer:
        pipeline.unet.register_forward_pre_hook(lambda *_: monkeypatch.setattr(torch.Tensor, "cpu", refuse))
        pipeline.unet.register_forward_hook(lambda *_: (monkeypatch.undo(), seen.append(_state()))[0])
        before = _state()
        run(pipeline, "a red circle")
    assert seen == [before, before]
    assert tracer.heat_maps()["circle"].values.max() > 0


def _state() -> bytes:
    return torch.get_rng_state().numpy().tobytes()
