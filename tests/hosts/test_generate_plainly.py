"""`daam.generate` and `daam --model` with pipelines that read a prompt as it is: those with joint attention."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import daam
from daam.cli.main import main
from daam.errors import SettingError, TraceError

pytest.importorskip("diffusers", minversion="0.42", reason="older ones lack some of these pipelines")

from tests import joint_pipelines as made

PROMPT, NEGATIVE = "a red circle", "a blue square"
PIPELINES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "Flux": (made.flux_guided, "guidance_scale", {}),
    "Chroma": (made.chroma, "guidance_scale", {"negative_prompt": NEGATIVE}),
    "Stable Diffusion 3": (made.sd3, "guidance_scale", {"negative_prompt": NEGATIVE}),
    "Qwen-Image": (made.qwen, "true_cfg_scale", {"negative_prompt": NEGATIVE}),
    "Lumina 2": (made.lumina, "guidance_scale", {"negative_prompt": NEGATIVE}),
    "Z-Image": (made.z_image, "guidance_scale", {"negative_prompt": NEGATIVE}),
}
"""What makes it, the argument that guides, and the negative prompt where it is guided by one."""


def settings(prompt: str = PROMPT, **others: Any) -> daam.GenerationSettings:
    return daam.GenerationSettings(prompt, **{"seed": 5, "steps": 2, "height": 64, "width": 96, **others})


def pixels(pictures: Any) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures])


@pytest.mark.parametrize("name", PIPELINES)
def test_pictures_and_maps_are_those_of_a_traced_call_of_the_pipeline(name: str) -> None:
    make, guide, others = PIPELINES[name]
    pipeline = make()
    negative = others.get("negative_prompt", "")
    result = daam.generate(pipeline, settings(negative=negative, guidance_scale=2.0, batch_size=2))
    with daam.trace(pipeline) as tracer:
        own = pipeline(
            PROMPT, num_inference_steps=2, height=64, width=96, num_images_per_prompt=2,
            generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)], **{guide: 2.0}, **others,
        ).images  # fmt: skip
    assert np.array_equal(pixels(result.pictures), pixels(own))
    for image in range(2):
        maps, expected = result.heat_maps(image), tracer.heat_maps(image)
        assert list(maps) == ["a", "red", "circle"]
        assert np.array_equal(maps["circle"].values, expected["circle"].values)
    assert not negative or list(result.heat_maps(side="negative")) == ["a", "blue", "square"]
    assert result.notes.settings["sampler"] == "FlowMatchEulerDiscreteScheduler"
    assert result.notes.settings["guidance_scale"] == 2.0 and result.remarks == []


def test_without_a_guidance_scale_the_pipelines_own_counts() -> None:
    guided = made.flux_guided()
    plain = daam.generate(guided, settings())
    assert plain.notes.settings["guidance_scale"] == 3.5
    assert np.array_equal(pixels(plain.pictures), pixels(daam.generate(guided, settings(guidance_scale=3.5)).pictures))
    qwen = made.qwen()
    assert daam.generate(qwen, settings()).notes.settings["guidance_scale"] == 4.0


def test_flux_is_guided_by_a_negative_prompt_where_there_is_one() -> None:
    pipeline = made.flux_guided()
    with_negative = daam.generate(pipeline, settings(negative=NEGATIVE))
    own = pipeline(
        PROMPT, negative_prompt=NEGATIVE, true_cfg_scale=4.0, num_inference_steps=2, height=64, width=96,
        generator=[torch.Generator().manual_seed(5)],
    ).images  # fmt: skip
    assert np.array_equal(pixels(with_negative.pictures), pixels(own))
    assert list(with_negative.heat_maps(side="negative")) == ["a", "blue", "square"]


def test_what_the_webui_would_read_as_syntax_is_said_to_be_text() -> None:
    result = daam.generate(made.flux(), settings("a (red:1.3) circle AND a [cat|dog]"))
    (remark,) = result.remarks
    assert remark == "FluxPipeline reads a prompt as it is: (red:1.3), AND, [cat|dog] is text to it, no syntax"
    assert list(result.heat_maps()) == ["a", "red", "1", "3", "circle", "and", "cat", "dog"]
    assert daam.generate(made.flux(), settings("a circle (of red), a cat and a dog")).remarks == []


def test_what_the_pipeline_does_not_have_is_refused_before_anything_is_generated() -> None:
    with pytest.raises(SettingError, match="FluxPipeline samples with its own FlowMatchEulerDiscreteScheduler"):
        daam.generate(made.flux(), settings(sampler="Euler a"))
    with pytest.raises(SettingError, match="Flux2KleinPipeline takes no negative prompt"):
        daam.generate(made.klein(), settings(negative="ugly"))
    unknown = SimpleNamespace(transformer=torch.nn.Linear(1, 1), scheduler=None, encode_prompt=lambda: None)
    with pytest.raises(TraceError, match="Linear has none that is known"):
        daam.generate(unknown, settings())


def test_the_sampling_can_be_ended() -> None:
    steps: list[tuple[int, int]] = []

    def on_step(done: int, total: int) -> bool:
        steps.append((done, total))
        return done == 2

    result = daam.generate(made.flux(), settings(steps=4), on_step=on_step)
    assert steps[:2] == [(1, 4), (2, 4)] and result.traces[0].calls == 2


def test_the_command_line_takes_a_folder_of_such_a_pipeline(tmp_path: Path) -> None:
    made.flux_guided().save_pretrained(tmp_path / "flux")
    arguments = [
        "--model",
        str(tmp_path / "flux"),
        "--steps",
        "2",
        "--width",
        "64",
        "--height",
        "64",
        "--device",
        "cpu",
    ]
    assert main([PROMPT, *arguments, "--terms", "circle", "-o", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    record = daam.load_record(folder / "record.safetensors")
    assert list(record.heat_maps()) == ["a", "red", "circle"] and record.notes.settings["guidance_scale"] == 3.5
    assert (folder / "circle.png").is_file() and (folder / "report.html").is_file()
