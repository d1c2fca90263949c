"""The training loop: it learns, averages, stops and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tools.train_demo_model import autoencoder
from tools.train_demo_model.autoencoder import train_decoder
from tools.train_demo_model.diffusion import timestep_weights
from tools.train_demo_model.export import compact_vocabulary, expand_vocabulary
from tools.train_demo_model.networks import BOS, EOS, make_autoencoder, make_scheduler, make_text_encoder
from tools.train_demo_model.training import WeightAverage, learning_rate, train


def fit_line(model: nn.Linear, path: Path, seconds: float) -> list[float]:
    losses: list[float] = []

    def loss_of_step(progress: float) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(16, 1)
        loss = (model(inputs) - 3 * inputs).pow(2).mean()
        losses.append(loss.item())
        return loss, {"loss": loss.item()}

    train([model], loss_of_step, checkpoint=path, seconds=seconds, highest_rate=0.05, average_over=10, weight_decay=0)
    return losses


def test_training_learns_and_leaves_averaged_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    losses = fit_line(model, tmp_path / "a.pt", 1.0)
    assert len(losses) > 50 and losses[-1] < 0.05 * losses[0]
    assert abs(model.weight.item() - 3) < 0.2


def test_a_stopped_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    fit_line(nn.Linear(1, 1), tmp_path / "a.pt", 0.5)
    fresh = nn.Linear(1, 1)
    assert fit_line(fresh, tmp_path / "a.pt", 0.5) == []  # its time was spent already
    assert fresh.weight.item() == pytest.approx(3, abs=1.5)
    state = torch.load(tmp_path / "a.pt")
    assert state["step"] > 0 and 0.5 <= state["spent"] < 1.5


def test_the_learning_rate_warms_up_and_falls_to_a_fiftieth() -> None:
    assert learning_rate(1.0, 0, 0.0) == pytest.approx(0.01)
    assert learning_rate(1.0, 1000, 0.0) == pytest.approx(1.0)
    assert learning_rate(1.0, 1000, 1.0) == pytest.approx(0.02)


def test_the_average_of_constant_weights_is_the_constant() -> None:
    parameter = nn.Parameter(torch.ones(3))
    average = WeightAverage([parameter], 100)
    for step in range(20):
        average.update(step)
    average.copy_to_parameters()
    assert torch.allclose(parameter, torch.ones(3))


def test_timestep_weights_have_mean_one_and_favour_the_noisy_end() -> None:
    weights = timestep_weights(make_scheduler().alphas_cumprod)
    assert weights.mean().item() == pytest.approx(1)
    assert weights[900] > weights[500] > weights[50] > 0


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


def test_the_decoder_is_trained_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "POOL", 8)
    torch.manual_seed(0)
    model = make_autoencoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_decoder(tmp_path, model, 2.0)
    changed = {name.partition(".")[0] for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {"decoder", "post_quant_conv"}
