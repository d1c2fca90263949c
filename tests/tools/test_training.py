"""The training: its loop learns, averages, stops and goes on; latents, losses and context are what they say."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from daam.demo_model import WEIGHTS
from tools.train_demo_model import __main__ as command
from tools.train_demo_model import autoencoder, compute, curriculum, dataset, diffusion, training
from tools.train_demo_model import drawing_pool as drawing_pool_module
from tools.train_demo_model.attention import CONTEXT, PlainAttention, context_mask
from tools.train_demo_model.autoencoder import (
    Pool,
    draw_pictures,
    encode,
    make_pool,
    train_both,
    train_decoder,
    train_encoder,
)
from tools.train_demo_model.compute import Compute
from tools.train_demo_model.dataset import LENGTH, Data, collect_dataset, draw_chunk
from tools.train_demo_model.diffusion import Batches, VelocityLoss, timestep_density
from tools.train_demo_model.drawing_pool import drawing_pool
from tools.train_demo_model.export import compact_vocabulary, expand_vocabulary, load_autoencoder
from tools.train_demo_model.latents import CELL, DEVIATION, cell_latents, enlarged
from tools.train_demo_model.lengths import Lengths, Minutes
from tools.train_demo_model.networks import (
    BOS,
    EOS,
    make_autoencoder,
    make_scheduler,
    make_text_encoder,
    make_unet,
)
from tools.train_demo_model.optimizer import MuonWithAdamW, orthogonalised
from tools.train_demo_model.scenes import Plan, SceneObject, make_scene, scene_with_something_small
from tools.train_demo_model.steps import RecordedSteps, Steps, WeightAverage
from tools.train_demo_model.training import learning_rate, train

FLOAT32 = Compute(torch.device("cpu"), is_bfloat16=False)
BFLOAT16 = Compute(torch.device("cpu"), is_bfloat16=True)


@pytest.fixture(scope="module")
def data() -> Data:
    return collect_dataset([draw_chunk(random.Random(0), 60)], cell_latents)


def draw_pool(scenes: int) -> Pool:
    return make_pool([draw_pictures(random.Random(7), scenes)])


@pytest.fixture
def steps_of_10_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test has the same steps on any machine."""
    readings = itertools.count()
    clock = SimpleNamespace(process_time=lambda: 0.01 * next(readings), monotonic=lambda: 0.0)
    monkeypatch.setattr(training, "time", clock)


def fit_line(model: nn.Linear, path: Path, seconds: float) -> list[float]:
    losses: list[float] = []

    def draw(step: int, progress: float) -> tuple[Tensor]:
        assert step == len(losses)
        return (torch.randn(16, 1),)

    def loss(inputs: Tensor) -> Tensor:
        error = (model(inputs) - 3 * inputs).pow(2).mean()
        losses.append(error.item())
        return error

    train(
        [model], draw, loss, FLOAT32, checkpoint=path, seconds=seconds, highest_rate=0.3, falls_over=0.5,
        average_over=10, weight_decay=0,
    )  # fmt: skip
    return losses


@pytest.mark.usefixtures("steps_of_10_ms")
def test_training_learns_and_leaves_averaged_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    losses = fit_line(model, tmp_path / "a.pt", 3.0)
    assert len(losses) == 300 and losses[-1] < 0.05 * losses[0]
    assert abs(model.weight.item() - 3) < 0.2


@pytest.mark.usefixtures("steps_of_10_ms")
def test_a_stopped_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    fit_line(nn.Linear(1, 1), tmp_path / "a.pt", 3.0)
    fresh = nn.Linear(1, 1)
    assert fit_line(fresh, tmp_path / "a.pt", 3.0) == []  # its time was spent already
    assert fresh.weight.item() == pytest.approx(3, abs=0.2)
    state = torch.load(tmp_path / "a.pt")
    assert state["step"] == 300 and 3.0 <= state["spent"] < 3.1


def test_the_learning_rate_warms_up_stays_and_falls_to_a_fiftieth() -> None:
    assert learning_rate(1.0, 0, 0.0, 0.4) == pytest.approx(0.02)
    assert learning_rate(1.0, 1000, 0.0, 0.4) == learning_rate(1.0, 1000, 0.6, 0.4) == pytest.approx(1.0)
    assert learning_rate(1.0, 1000, 0.8, 0.4) == pytest.approx(0.5)
    assert learning_rate(1.0, 1000, 1.0, 0.4) == pytest.approx(0.02)


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8)])
def test_orthogonalised_matrices_keep_their_directions_and_lose_their_sizes(shape: tuple[int, ...]) -> None:
    stack = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(stack, full_matrices=False)
    result = orthogonalised(stack)
    sizes = torch.linalg.svdvals(result)
    assert sizes.min() > 0.5 and sizes.max() < 1.3
    inner = left.mT @ result @ right.mT
    assert (inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))).abs().max() < 1e-4
    assert (orthogonalised(stack, torch.bfloat16) - result).abs().max() < 0.1


def test_the_optimizer_leaves_no_weight_out_and_clears_the_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(4, 8), nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 6))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = MuonWithAdamW([model], weight_decay=0.0)
    model(torch.arange(4)).pow(3).sum().backward()
    optimizer.step(0.01)
    assert all((old != new).any() for old, new in zip(before, model.parameters()))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_average_of_constant_weights_is_the_constant() -> None:
    parameter = nn.Parameter(torch.ones(3))
    average = WeightAverage([parameter], 100)
    for step in range(20):
        average.update(average.share(step))
    average.copy_to_parameters()
    assert torch.allclose(parameter, torch.ones(3))


def test_latents_are_the_mean_colour_of_each_cell_and_its_contrast() -> None:
    picture = make_scene(random.Random(0)).picture
    latents = cell_latents(picture[np.newaxis])[0] * DEVIATION
    assert latents.shape == (4, 16, 16)
    cell = picture[3 * CELL : 4 * CELL, 5 * CELL : 6 * CELL] / 127.5 - 1
    assert latents[:3, 3, 5].numpy() == pytest.approx(cell.mean(axis=(0, 1)), abs=1e-5)
    assert latents[3, 3, 5].item() == pytest.approx(cell.mean(axis=-1).std() * 3 - 0.3, abs=1e-5)
    plain = np.full((1, 128, 128, 3), (220, 30, 35), np.uint8)
    assert np.abs(enlarged(cell_latents(plain)).astype(int) - plain).max() <= 1


def test_timesteps_are_drawn_most_where_shapes_are_decided_and_everywhere_at_times() -> None:
    kept = make_scheduler().alphas_cumprod
    density = timestep_density(kept)
    assert density.sum().item() == pytest.approx(1) and density.min() >= 0.29 / len(kept)
    sigma = ((1 - kept) / kept).sqrt()
    assert 1 < sigma[density.argmax()] < 3
    assert density[sigma < 0.2].sum() < 0.3 > density[sigma > 8].sum()


def test_easy_scenes_come_first_and_then_the_whole_world(data: Data) -> None:
    easy = curriculum.easy_weights(data)
    assert 0 < (easy > 0).sum() < len(easy)
    chosen = easy > 0
    assert data.is_shapes[chosen].all() and not data.has_small[chosen].any() and data.objects[chosen].max() == 2
    later = curriculum.weights(data)
    assert (later > 0).all()
    alike = data.is_shapes & ~data.has_small & (data.objects == 2)
    near, apart = later[alike & data.has_near], later[alike & ~data.has_near]
    assert len(near) and len(apart) and near.min() > apart.max()


def test_scenes_are_near_where_two_objects_nearly_touch() -> None:
    first = SceneObject("circle", "red", "normal", 40.0, 40.0, 20.0)
    for distance, is_near in ((44.0, True), (56.0, False)):
        second = SceneObject("square", "blue", "normal", 40.0 + distance, 40.0, 20.0)
        assert dataset._has_near(Plan("white", objects=[first, second])) is is_near
    assert not dataset._has_near(Plan("white", objects=[first]))


def test_no_caption_is_longer_than_what_is_encoded(data: Data) -> None:
    assert (data.tokens[..., CONTEXT - 1 :] == data.tokens.max()).all()


def test_the_short_context_with_its_mask_gives_what_the_long_one_gives() -> None:
    """Padding that is left out is stood for: the same attention as over all 77 tokens whose last 46 are alike."""
    torch.manual_seed(0)
    usual, plain = make_unet().eval(), make_unet().eval()
    plain.load_state_dict(usual.state_dict())
    plain.set_attn_processor(PlainAttention())
    latents, timesteps = torch.randn(2, 4, 16, 16), torch.tensor([10, 900])
    context = torch.randn(2, CONTEXT, 64)
    long = torch.cat([context, context[:, -1:].expand(-1, LENGTH - CONTEXT, -1)], dim=1)
    with torch.no_grad():
        expected = usual(latents, timesteps, long).sample
        mask = context_mask(2, torch.device("cpu"))
        assert torch.allclose(
            plain(latents, timesteps, context, encoder_attention_mask=mask).sample, expected, atol=1e-4
        )
        without = plain(latents, timesteps, context).sample
    assert (without - expected).abs().max() > 1e-3


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion, "BATCH", 4)


@pytest.mark.parametrize("numbers", [FLOAT32, BFLOAT16])
def test_the_loss_of_a_model_that_knows_nothing_is_the_spread_of_the_velocity(data: Data, numbers: Compute) -> None:
    torch.manual_seed(0)
    unet = make_unet()
    nn.init.zeros_(unet.conv_out.weight), nn.init.zeros_(unet.conv_out.bias)
    batch = Batches(data, 4, numbers.device, easy_steps=10).draw(0, 0.0)
    loss = VelocityLoss(unet, make_text_encoder(1 + len(data.rows) + 2), 4, numbers)(*batch)
    assert loss.dtype == torch.float32 and 0.7 < loss.item() < 1.6


@pytest.mark.usefixtures("small_batches")
def test_one_command_trains_from_nothing_and_one_trains_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ON_PROCESSOR", Lengths(60, 0.01, 8, Minutes(0.01, 0.01, 0.01)))
    short = ["--threads", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    command.main([str(tmp_path / "a"), "--export", str(first), *short])
    command.main([str(tmp_path / "b"), "--train-on", str(first), "--export", str(second), *short])
    before, after = (
        StableDiffusionPipeline.from_pretrained(folder, low_cpu_mem_usage=False) for folder in (first, second)
    )
    assert after.scheduler.config.prediction_type == "v_prediction"
    assert before.vae.config.scaling_factor == pytest.approx(1 / DEVIATION)
    assert torch.equal(before.vae.decoder.conv_in.weight, after.vae.decoder.conv_in.weight)
    difference = (before.unet.conv_in.weight - after.unet.conv_in.weight).abs().max()
    assert 0 < difference < 0.1
    assert len(after.tokenizer) == 49408


@pytest.mark.parametrize(("seconds", "is_bfloat16"), [((1.0, 0.2), True), ((1.0, 0.9), False), ((1.0, 5.0), False)])
def test_bfloat16_is_taken_only_where_it_is_clearly_faster_and_that_is_said(
    seconds: tuple[float, float],
    is_bfloat16: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken = dict(zip((torch.float32, torch.bfloat16), seconds))
    monkeypatch.setattr(compute, "_seconds_of_a_product", lambda device, dtype: taken[dtype])
    with caplog.at_level("INFO"):
        chosen = compute.choose_compute("cpu")
    assert chosen.is_bfloat16 is is_bfloat16
    assert ("training in bfloat16" in caplog.text) is is_bfloat16
    assert ("float32, since bfloat16 is not fast here" in caplog.text) is not is_bfloat16


def test_every_word_of_the_full_vocabulary_has_a_row_of_its_own() -> None:
    torch.manual_seed(0)
    small = make_text_encoder(1 + 2 + 2)
    full = expand_vocabulary(small, {320: 1, 736: 2})
    table, trained = full.get_input_embeddings().weight, small.get_input_embeddings().weight
    assert torch.equal(table[320], trained[1]) and torch.equal(table[736], trained[2])
    assert torch.equal(table[BOS], trained[-2]) and torch.equal(table[EOS], trained[-1])
    unknown = table[1000:3000]
    assert len(torch.unique(unknown, dim=0)) == len(unknown)
    assert (unknown - trained[0]).abs().max() < trained.std()


def test_the_full_vocabulary_can_be_made_compact_again() -> None:
    torch.manual_seed(0)
    small = make_text_encoder(1 + 2 + 2)
    again = compact_vocabulary(expand_vocabulary(small, {320: 1, 736: 2}), {320: 1, 736: 2})
    before, after = (model.get_input_embeddings().weight for model in (small, again))
    assert torch.equal(before[1:], after[1:])
    assert (before[0] - after[0]).abs().max() < 0.01 * before.std()


def test_places_that_training_never_saw_are_like_the_last_one_it_saw() -> None:
    torch.manual_seed(0)
    small = make_text_encoder(1 + 2 + 2)
    name = next(key for key in small.state_dict() if key.endswith("position_embedding.weight"))
    before, after = small.state_dict()[name], expand_vocabulary(small, {320: 1}).state_dict()[name]
    assert torch.equal(after[:CONTEXT], before[:CONTEXT])
    assert (after[CONTEXT:] == before[CONTEXT - 1]).all()


@pytest.mark.parametrize("half", [train_decoder, train_encoder])
def test_each_half_of_the_vae_is_trained_alone(half: Callable[..., None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, pool = make_autoencoder(), draw_pool(8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    half(tmp_path, model, pool, 2.0, FLOAT32)
    changed = {name.partition(".")[0] for name, value in model.state_dict().items() if (value != before[name]).any()}
    expected = {"decoder", "post_quant_conv"} if half is train_decoder else {"encoder", "quant_conv"}
    assert changed == expected


def test_both_halves_together_leave_the_known_latents_a_little_and_come_back_with_more(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, pool = load_autoencoder(WEIGHTS), draw_pool(8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_both(tmp_path, model, pool, 2.0, FLOAT32)
    changed = {name.partition(".")[0] for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {"encoder", "quant_conv", "decoder", "post_quant_conv"}


def test_what_the_unet_learns_is_what_the_encoder_finds() -> None:
    model = load_autoencoder(WEIGHTS)
    pictures = draw_pictures(random.Random(0), 3)
    found = encode(model, pictures, FLOAT32, at_once=2)
    assert found.shape == (3, 4, 16, 16)
    assert (found - cell_latents(pictures)).abs().mean() < 0.2  # near to what is known without a network
    with torch.no_grad():
        mean = model.encode(torch.tensor(pictures).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mean
    assert torch.allclose(found, mean * model.config.scaling_factor, atol=1e-4)


def test_a_scene_that_is_to_have_a_small_object_has_one() -> None:
    rng = random.Random(0)
    assert all(scene_with_something_small(rng, 1.0).plan.has_small for _ in range(10))
    assert not all(scene_with_something_small(rng, 0.0).plan.has_small for _ in range(10))


def test_processes_draw_what_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing_pool_module, "CHUNK", 3)
    drawn = []
    for processes in (1, 2):
        with drawing_pool(processes) as pool:
            drawn.append([*pool.begin(draw_pictures, 7, seed=3)])
    assert [len(chunk) for chunk in drawn[0]] == [3, 3, 1]
    assert all((one == other).all() for one, other in zip(*drawn))
    assert (drawn[0][0] != drawn[0][1]).any()


def test_larger_batches_see_more_easy_scenes_in_fewer_steps() -> None:
    assert curriculum.easy_steps(32) == curriculum.EASY_STEPS
    assert curriculum.EASY_STEPS / 8 < curriculum.easy_steps(256) < curriculum.EASY_STEPS


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_crops_and_whole_pictures_lie_over_their_latents(progress: float) -> None:
    pool = draw_pool(4)
    pictures, latents = autoencoder._batch(pool, progress)
    seen = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert torch.allclose(cell_latents(seen) * DEVIATION, latents, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_recorded_steps_on_a_gpu_are_the_steps_themselves() -> None:
    device = torch.device("cuda")
    ends = []
    for record in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)).to(device)
        optimizer = MuonWithAdamW([model], weight_decay=0.01)
        average = WeightAverage(optimizer.parameters, 100)
        steps: Steps | RecordedSteps = Steps(lambda given, model=model: model(given).pow(2).mean(), optimizer, average)
        if record:
            steps = RecordedSteps(steps, device)
        for step in range(1, 21):
            batch = (torch.randn(32 if step % 2 else 16, 8, device=device),)
            rate, share = 0.01 / step, average.share(step)
            steps(
                batch, *((rate, share) if record else (torch.full((), value, device=device) for value in (rate, share)))
            )
        ends.append([*optimizer.parameters, *average.values])
    for plain, recorded in zip(*ends):
        assert torch.allclose(plain, recorded, atol=1e-6)
