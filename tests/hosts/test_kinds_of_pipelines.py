"""Every row of the table in docs/diffusers.md: kinds of pipelines against an independent computation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import daam
from daam.errors import TraceError
from tests.pipelines import as_kind, make_scheduler, make_unet, run, sd1, sdxl
from tests.truth import truth_of

PROMPT = "a red circle"
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "diffusers.md"


def picture(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Attributes:
        make: the pipeline, of the names that this version of diffusers has.
        settings: what it is called with, made anew for each run.
        row: of a model call that stands for the first picture's prompt.
        rows: of the calls that sample; None where all do.
        says: of the notes, or of the refusal where `is_refused`.
    """

    make: Callable[[], Any]
    settings: Callable[[], dict[str, Any]] = dict
    row: int = 1
    rows: int | None = None
    says: str = ""
    is_refused: bool = False
    since: str = "0.27"


def _lcm(kind: str) -> Callable[[], Any]:
    scheduler = lambda: diffusers.LCMScheduler.from_config(make_scheduler().config)  # noqa: E731
    return lambda: as_kind(getattr(diffusers, kind), sd1(time_cond_proj_dim=8), scheduler=scheduler())


def _upscaler() -> Any:
    base = sd1(in_channels=7, num_class_embeds=1000)
    noise = diffusers.DDPMScheduler()
    return as_kind(diffusers.StableDiffusionUpscalePipeline, base, low_res_scheduler=noise, max_noise_level=350)


def _control() -> Any:
    base = sd1()
    net = diffusers.ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(16, 32, 32, 32))
    return as_kind(diffusers.StableDiffusionControlNetPipeline, base, controlnet=net)


def _adapter() -> Any:
    adapter = diffusers.T2IAdapter(in_channels=3, channels=[32, 64], num_res_blocks=1, downscale_factor=8)
    return as_kind(diffusers.StableDiffusionAdapterPipeline, adapter=adapter)


def _diffedit() -> Any:
    inverse = diffusers.DDIMInverseScheduler.from_config(make_scheduler().config)
    return as_kind(diffusers.StableDiffusionDiffEditPipeline, inverse_scheduler=inverse)


def _animated() -> Any:
    adapter = diffusers.MotionAdapter(
        block_out_channels=(32, 64), motion_layers_per_block=1, motion_norm_num_groups=8, motion_num_attention_heads=4
    )
    return as_kind(diffusers.AnimateDiffPipeline, motion_adapter=adapter)


def _panorama() -> Any:
    ddim = diffusers.DDIMScheduler.from_config(make_scheduler().config)
    return as_kind(diffusers.StableDiffusionPanoramaPipeline, scheduler=ddim)


def _free_u() -> Any:
    pipeline = sd1()
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    return pipeline


def _pag(kind: str) -> Callable[[], Any]:
    return lambda: as_kind(getattr(diffusers, kind), pag_applied_layers=["mid"])


def _depth() -> Any:
    return as_kind(
        diffusers.StableDiffusionDepth2ImgPipeline, sd1(in_channels=5), depth_estimator=None, feature_extractor=None
    )


def _edit_xl() -> Any:
    base = sdxl()
    base.register_modules(unet=make_unet(**{**_own_settings(base.unet), "in_channels": 8}))
    return as_kind(diffusers.StableDiffusionXLInstructPix2PixPipeline, base, is_cosxl_edit=False)


def _own_settings(unet: Any) -> dict[str, Any]:
    return {name: value for name, value in unet.config.items() if not name.startswith("_")}


SAMPLE = {"image": picture(), "strength": 1.0}
KINDS = {
    "text to image, SD 1 and 2": Kind(sd1),
    "text to image, SDXL": Kind(sdxl),
    "without guidance": Kind(sd1, lambda: {"guidance_scale": 1.0}, row=0),
    "several images per prompt": Kind(sd1, lambda: {"num_images_per_prompt": 3}, row=3),
    "image to image": Kind(lambda: as_kind(diffusers.StableDiffusionImg2ImgPipeline), lambda: dict(SAMPLE)),
    "inpainting": Kind(
        lambda: as_kind(diffusers.StableDiffusionInpaintPipeline),
        lambda: {**SAMPLE, "mask_image": picture().convert("L"), "height": 64, "width": 64},
    ),
    "depth to image": Kind(_depth, lambda: {**SAMPLE, "depth_map": torch.rand(1, 64, 64, generator=seeded())}),
    "upscaling by 4": Kind(_upscaler, lambda: {"image": picture()}),
    "editing by instruction, SDXL": Kind(_edit_xl, lambda: {"image": picture(), "height": 64, "width": 64}, row=0),
    "latent consistency": Kind(_lcm("LatentConsistencyModelPipeline"), row=0),
    "latent consistency, image to image": Kind(
        _lcm("LatentConsistencyModelImg2ImgPipeline"), lambda: {"image": picture()}, row=0
    ),
    "ControlNet": Kind(_control, lambda: {"image": picture(), "height": 64, "width": 64}),
    "ControlNet in guess mode": Kind(
        _control, lambda: {"image": picture(), "height": 64, "width": 64, "guess_mode": True}
    ),
    "T2I-Adapter": Kind(_adapter, lambda: {"image": picture(), "height": 64, "width": 64}),
    "GLIGEN": Kind(
        lambda: as_kind(diffusers.StableDiffusionGLIGENPipeline, sd1(attention_type="gated")),
        lambda: {
            "gligen_phrases": ["a circle"],
            "gligen_boxes": [[0.1, 0.1, 0.6, 0.6]],
            "gligen_scheduled_sampling_beta": 0.5,
            "height": 64,
            "width": 64,
        },
    ),  # fmt: skip
    "FreeU": Kind(_free_u),
    "DiffEdit": Kind(
        _diffedit,
        lambda: {"mask_image": np.ones((1, 8, 8)), "image_latents": torch.randn(1, 1, 4, 8, 8, generator=seeded())},
    ),
    "CycleDiffusion": Kind(
        lambda: as_kind(diffusers.CycleDiffusionPipeline),
        lambda: {"image": picture(), "strength": 1.0, "source_prompt": "a cat", "guidance_scale": 2.0},
        row=3,
        says="conditioned by something else than the prompts",
    ),
    "perturbed-attention guidance": Kind(_pag("StableDiffusionPAGPipeline"), lambda: {"pag_scale": 3.0}, since="0.30"),
    "perturbed-attention guidance, image to image": Kind(
        _pag("StableDiffusionPAGImg2ImgPipeline"), lambda: {**SAMPLE, "pag_scale": 3.0}, since="0.31"
    ),
    "self-attention guidance": Kind(
        lambda: as_kind(diffusers.StableDiffusionSAGPipeline, sd1(attention_head_dim=4)),
        lambda: {"sag_scale": 0.75},
        rows=2,
        says="2 of 4 model calls looked again at a text of the same step",
    ),
    "Attend-and-Excite": Kind(
        lambda: as_kind(diffusers.StableDiffusionAttendAndExcitePipeline),
        lambda: {"token_indices": [2, 3], "attn_res": (16, 16), "height": 128, "width": 128, "max_iter_to_alter": 1},
        rows=2,
        says="were made to change the latents by their gradients",
    ),
    "Panorama": Kind(
        _panorama, lambda: {"height": 512, "width": 1024, "num_inference_steps": 1}, says="windows", is_refused=True
    ),
    "AnimateDiff": Kind(
        _animated, lambda: {"num_frames": 2, "height": 64, "width": 64}, says="a video's frames", is_refused=True
    ),
}


def _run(pipeline: Any, settings: dict[str, Any]) -> Any:
    made = pipeline(PROMPT, generator=seeded(), **{"num_inference_steps": 2, "output_type": "np", **settings})
    return made.images if hasattr(made, "images") else made.frames


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_pipeline_is_exact_or_refused(name: str) -> None:
    kind = KINDS[name]
    pytest.importorskip("diffusers", minversion=kind.since, reason=f"diffusers has it from {kind.since} on")
    pipeline = kind.make()
    sizes = {} if {"image", "height", "image_latents"} & set(kind.settings()) else {"height": 64, "width": 64}
    before = _run(pipeline, {**sizes, **kind.settings()})
    with truth_of(pipeline.unet) as truth, daam.trace(pipeline) as tracer:
        traced = _run(pipeline, {**sizes, **kind.settings()})
    assert np.array_equal(np.asarray(before), np.asarray(traced))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipeline.unet.modules())
    if kind.is_refused:
        with pytest.raises(TraceError, match=kind.says):
            tracer.heat_maps()
        return
    truth.calls = {
        layer: [call for call in calls if kind.rows in (None, len(call))] for layer, calls in truth.calls.items()
    }
    truth.check(tracer, kind.row, [1, 2, 3])
    assert (kind.says in " ".join(tracer.notes)) if kind.says else tracer.notes == []


@pytest.mark.parametrize("name", ["StableDiffusionInstructPix2PixPipeline", "SemanticStableDiffusionPipeline"])
def test_a_pipeline_that_does_not_encode_in_the_open_is_refused_at_once(name: str) -> None:
    with pytest.raises(TraceError, match=f"`encode_prompt`, got {name}"):
        daam.trace(as_kind(getattr(diffusers, name), sd1(in_channels=8)))


def test_base_and_refiner_are_traced_each_by_itself() -> None:
    """The ensemble of experts: the base model takes the first steps, the refiner the last ones."""
    base = sdxl()
    refiner = as_kind(diffusers.StableDiffusionXLImg2ImgPipeline, base)
    with truth_of(base.unet) as truth, daam.trace(base) as first, daam.trace(refiner) as last:
        latents = run(base, PROMPT, num_inference_steps=4, denoising_end=0.5, output_type="latent")
        run(refiner, "a cat", image=latents, num_inference_steps=4, denoising_start=0.5)
    truth.check(first, 1, [1, 2, 3], calls=slice(0, 2))
    truth.check(last, 1, [1, 2], calls=slice(2, None))
    assert list(first.heat_maps()) == ["a", "red", "circle"] and list(last.heat_maps()) == ["a", "cat"]


def test_the_examples_of_refined_maps_and_of_embeddings_made_elsewhere_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", TABLE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "diffusers.md", "exec"), {})
    assert capsys.readouterr().out == "['a', 'red', 'circle'] ['a', 'blue', 'square']\n"


def test_the_table_has_every_kind_and_names_tests_that_are_there() -> None:
    text = TABLE.read_text(encoding="utf-8")
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    results = {row[0].strip(): row[1].strip() for row in cells}
    for name, kind in KINDS.items():
        expected = "refused" if kind.is_refused else "exact"
        assert results.get(name, "no row").startswith(expected), name
    names = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    named = re.findall(r"`(test_\w+)`", text)
    assert named and not set(named) - names
