"""The embedded model: stock diffusers loads it, it is small, and the original LDM classes can express it."""

from __future__ import annotations

import io
import zipfile

import pytest
import torch
from diffusers import StableDiffusionPipeline

from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.hosts.diffusers_models import EMBEDDED_FOLDER, load_pipeline
from daam.hosts.diffusers_trace import trace


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return load_pipeline(device="cpu")


def test_the_stock_pipeline_loads_it_without_a_network() -> None:
    loaded = StableDiffusionPipeline.from_pretrained(EMBEDDED_FOLDER, local_files_only=True, low_cpu_mem_usage=False)
    assert loaded.scheduler.config.prediction_type == "v_prediction"
    assert loaded.scheduler.config.beta_schedule == "scaled_linear"


def test_its_tokenizer_is_clips(pipeline: StableDiffusionPipeline) -> None:
    assert len(pipeline.tokenizer) == 49408
    assert pipeline.tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_it_attends_at_three_resolutions_and_in_the_middle(pipeline: StableDiffusionPipeline) -> None:
    with trace(pipeline) as tracer:
        pipeline("a cat", num_inference_steps=1, output_type="latent")
    sizes = tracer.heat_maps().layers
    assert set(sizes.values()) == {(16, 16), (8, 8), (4, 4)}
    assert any(name.startswith("mid_block") for name in sizes)
    heads = next(iter(tracer.image_trace(0).texts.values())).heads
    assert min(heads.values()) >= 2


def test_it_takes_less_than_16_mb_in_a_wheel() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in EMBEDDED_FOLDER.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(EMBEDDED_FOLDER))
    assert packed.tell() < 16e6


def test_words_that_were_never_trained_differ(pipeline: StableDiffusionPipeline) -> None:
    words = torch.tensor([pipeline.tokenizer(word)["input_ids"][1] for word in ("unicorn", "violin", "geometry")])
    rows = pipeline.text_encoder.get_input_embeddings().weight[words]
    assert (rows[0] != rows[1]).any() and (rows[1] != rows[2]).any()


def test_the_original_ldm_layout_can_express_it(pipeline: StableDiffusionPipeline) -> None:
    """One group norm of 32, whole multiples of the first width, one number of heads."""
    unet, vae = pipeline.unet.config, pipeline.vae.config
    assert all(width % unet.block_out_channels[0] == 0 for width in unet.block_out_channels)
    assert isinstance(unet.attention_head_dim, int)
    assert unet.norm_num_groups == vae.norm_num_groups == 32
    assert pipeline.vae_scale_factor == 8 and vae.latent_channels == 4


def test_an_emphasised_word_changes_the_picture_and_its_table_says_so(pipeline: StableDiffusionPipeline) -> None:
    plain, strong = (
        generate(pipeline, GenerationSettings(f"a red {word} on white", steps=3, guidance_scale=5.0))
        for word in ("circle", "(circle:1.5)")
    )
    assert plain.pictures[0].tobytes() != strong.pictures[0].tobytes()
    table = strong.heat_maps().table
    (weight,) = {column.weight for column in table.parts[0].schedule[0].columns if column.piece == "circle"}
    assert weight == 1.5
