"""Generating with the WebUI's syntax: weights, chunks and schedules reach the model at the right steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from daam.errors import PromptError, SettingError, TraceError
from daam.hosts.diffusers_encode import TextEncoding
from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.hosts.diffusers_models import SAMPLERS, set_sampler
from daam.prompt import ClipTokenizer, parse_prompt
from daam.results.result import Result
from daam.tracing.engine import Engine
from tests.pipelines import FAMILIES, sd1, sdxl


def run(pipeline: Any, prompt: str, **settings: Any) -> Result:
    defaults: dict[str, Any] = {"steps": 4, "height": 64, "width": 64, "seed": 1}
    return generate(pipeline, GenerationSettings(prompt, **{**defaults, **settings}))


def pixels(generation: Result) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in generation.pictures])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_prompt_gives_the_picture_that_the_pipeline_gives_by_itself(family: str) -> None:
    pipeline = FAMILIES[family]()
    own = run(pipeline, "a red circle", negative="a blue square")
    set_sampler(pipeline, own.notes.settings["sampler"])
    plain = pipeline(
        "a red circle", negative_prompt="a blue square", num_inference_steps=4, height=64, width=64,
        guidance_scale=7.0, generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    assert (pixels(own)[0] == np.asarray(plain)).all()


def test_sdxl_treats_an_empty_negative_prompt_as_the_pipeline_does() -> None:
    pipeline = sdxl()
    own = run(pipeline, "a red circle")
    set_sampler(pipeline, own.notes.settings["sampler"])
    plain = pipeline(
        "a red circle", num_inference_steps=4, height=64, width=64, guidance_scale=7.0,
        generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    assert (pixels(own)[0] == np.asarray(plain)).all()


def test_a_weight_multiplies_the_embedding_and_keeps_the_mean() -> None:
    pipeline = sd1()
    norm = next(module for name, module in pipeline.text_encoder.named_modules() if name.endswith("final_layer_norm"))
    torch.nn.init.constant_(norm.bias, 0.1)  # as in trained ones, the mean is not 0
    tokenizer = ClipTokenizer.from_transformers(pipeline.tokenizer)
    plain, strong = (parse_prompt(text, tokenizer).parts[0].schedule[0] for text in ("a red cat", "a (red:1.5) cat"))
    before, after = (TextEncoding(pipeline).encode(entry).context for entry in (plain, strong))
    unnormalised = TextEncoding(pipeline, "No norm").encode(strong).context
    assert torch.allclose(unnormalised[:, 2], 1.5 * before[:, 2]) and torch.equal(unnormalised[:, 1], before[:, 1])
    assert after.mean().item() == pytest.approx(before.mean().item(), rel=1e-3)
    assert torch.allclose(after / unnormalised, (after / unnormalised).flatten()[0], rtol=1e-3)
    assert torch.equal(TextEncoding(pipeline, "Ignore").encode(strong).context, before)


def test_long_prompts_have_several_chunks_and_both_sides_one_length() -> None:
    pipeline = sd1()
    generation = run(pipeline, "a long prompt, " * 40, negative="short", steps=2)
    table = generation.heat_maps().table
    assert len(table.parts[0].schedule[0].chunks) == 3
    assert generation.heat_maps(side="negative")["short"].values.max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edited_prompt_equals_the_first_text_up_to_its_step(family: str) -> None:
    """The first text is active for calls 0..2, so only the last of four calls differs."""
    pipeline = FAMILIES[family]()
    seen: list[torch.Tensor] = []
    hook = pipeline.unet.register_forward_pre_hook(
        lambda module, arguments, named: seen.append(named["encoder_hidden_states"].clone()), with_kwargs=True
    )
    run(pipeline, "a [cat:dog:2] here", sampler="Euler")
    edited = seen[:]
    for text in ("a cat here", "a dog here"):
        seen.clear()
        run(pipeline, text, sampler="Euler")
        expected = range(3) if "cat" in text else [3]
        assert all(torch.equal(edited[call], seen[call]) for call in expected)
    hook.remove()


def test_scheduled_words_have_maps_of_their_own_steps() -> None:
    maps = run(sd1(), "a [cat:dog:2] here", sampler="Euler").heat_maps()
    counts = {entry: max(text.counts.values()) for (_, entry), text in maps._texts.items()}
    assert counts == {0: 3, 1: 1}
    assert maps["cat"].values.mean() > maps["dog"].values.mean() > 0


def test_a_negative_prompt_may_change_over_the_steps() -> None:
    generation = run(sd1(), "a cat", negative="[ugly:blurry:2]", sampler="Euler")
    assert set(generation.heat_maps(side="negative")) == {"ugly", "blurry"}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_runs_with_a_schedule(sampler: str) -> None:
    generation = run(sd1(), "a [cat:dog:0.5]", sampler=sampler)
    maps = generation.heat_maps()
    assert maps["cat"].values.max() > 0 and maps["dog"].values.max() > 0


def test_each_picture_of_a_batch_has_its_own_seed_and_maps() -> None:
    pipeline = sd1()
    both = run(pipeline, "a cat", batch_size=2)
    alone = run(pipeline, "a cat", seed=2)
    assert np.abs(pixels(both)[1].astype(int) - pixels(alone)[0]).max() <= 1
    first, second = (both.heat_maps(image)["cat"].values for image in (0, 1))
    assert (first != second).any()
    np.testing.assert_allclose(second, alone.heat_maps()["cat"].values, rtol=1e-3)


def test_progress_is_told_for_every_step() -> None:
    told: list[tuple[int, int]] = []
    generate(
        sd1(), GenerationSettings("a cat", steps=3, height=64, width=64),
        on_step=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_and_is_refused_with_a_hint() -> None:
    with pytest.raises(PromptError, match="WebUI"):
        run(sd1(), "a cat AND a dog")


def test_an_empty_prompt_gives_a_picture_without_words() -> None:
    generation = run(sd1(), "", steps=1)
    assert len(generation.pictures) == 1 and list(generation.heat_maps()) == []


@pytest.mark.parametrize(
    "setting", [{"steps": 0}, {"steps": 2000}, {"batch_size": 0}, {"height": 100}, {"width": 8}, {"seed": -1},
                {"guidance_scale": -1.0}],
)  # fmt: skip
def test_a_bad_setting_is_named(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting)).split("_")[0]):
        GenerationSettings("a cat", **setting)


def test_a_fault_in_the_trace_leaves_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(sd1(), "a circle")

    def fail(*_: Any) -> None:
        raise MemoryError("no memory for maps")

    monkeypatch.setattr(Engine, "see", fail)
    after = run(sd1(), "a circle")
    assert (pixels(after) == pixels(before)).all() and after.traces == []
    with pytest.raises(TraceError, match="no memory for maps"):
        after.heat_maps()


def test_the_notes_name_the_model_that_was_loaded(tmp_path: Path) -> None:
    settings = GenerationSettings("a circle", steps=1, width=64, height=64)
    assert generate(sd1(), settings).notes.model == ""
    sd1().save_pretrained(tmp_path / "mine")
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "mine")
    assert generate(loaded, settings).notes.model == "mine"
    loaded.config["_name_or_path"] = "somebody/a-model"
    assert generate(loaded, settings).notes.model == "somebody/a-model"


def test_the_pipelines_own_scheduler_comes_back() -> None:
    pipeline = sd1()
    scheduler = pipeline.scheduler
    run(pipeline, "a cat", sampler="Euler")
    assert pipeline.scheduler is scheduler
    with pytest.raises(PromptError):
        run(pipeline, "a cat AND a dog", sampler="Euler")
    assert pipeline.scheduler is scheduler
