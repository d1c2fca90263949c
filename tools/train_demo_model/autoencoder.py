"""Trains the VAE for latents that are known (`latents.py`): the decoder to draw from them, the encoder to find them.

Then both together: the encoder may leave the known latents a little where that tells the decoder more.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from .compute import Compute
from .latents import CELL, DEVIATION, cell_latents
from .lengths import Minutes
from .networks import make_autoencoder
from .scenes import SIZE, scene_with_something_small
from .steps import Loss
from .training import train

logger = logging.getLogger(__name__)
SMALL_SHARE = 0.4
"""Of the pool's scenes that are drawn anew until an object is small: there the decoder errs most."""
BATCH, BATCH_ON_GPU = 8, 48
CELLS = SIZE // CELL
CROP_CELLS = 8
CROPS_UNTIL = 0.7
"""Of the training on a processor; then whole pictures, so that GroupNorm sees what it will see."""
LATENT_NOISE = 0.08
"""Mean deviation of the noise on latents through which the decoder learns to see: the UNet's are never exact."""
RATE, RATE_OF_BOTH = 2e-3, 1e-3
LOG_VARIANCE = -8.0
VAE = "vae"
NEARNESS = 0.5
"""What it costs both together to leave the known latents, in squares of their values from -1 to 1."""


@dataclass(frozen=True)
class Pool:
    """Scenes: pictures [scene, 3, 128, 128] uint8 and their latents [scene, 4, 16, 16], not divided by `DEVIATION`."""

    pictures: Tensor
    latents: Tensor

    def to(self, device: torch.device) -> Pool:
        return Pool(self.pictures.to(device), self.latents.to(device))


def draw_pictures(rng: random.Random, scenes: int, small_share: float = SMALL_SHARE) -> np.ndarray:
    """[scene, 128, 128, 3] uint8."""
    return np.stack([scene_with_something_small(rng, small_share).picture for _ in range(scenes)])


def make_pool(chunks: Iterable[np.ndarray]) -> Pool:
    pictures = np.concatenate(list(chunks))
    latents = torch.cat([cell_latents(some) for some in np.array_split(pictures, 1 + len(pictures) // 500)])
    return Pool(to_tensor(pictures), latents * DEVIATION)


def has_autoencoder(folder: Path) -> bool:
    return (folder / VAE).exists()


def train_autoencoder(
    folder: Path, minutes: Minutes, pool: Iterable[np.ndarray], compute: Compute, start: AutoencoderKL | None = None
) -> AutoencoderKL:
    """The trained VAE on the CPU; kept in `folder`, taken from there when it is already trained.

    Args:
        pool: pictures of scenes, in chunks.
        start: a VAE to train on; None begins with a random one.
    """
    done = folder / VAE
    if has_autoencoder(folder):
        return AutoencoderKL.from_pretrained(done).eval()
    model = start or _new_autoencoder()
    if not minutes.are_none:
        torch.manual_seed(2)
        scenes = make_pool(pool).to(compute.device)
        model.train().to(compute.device)
        train_decoder(folder, model, scenes, 60 * minutes.decoder, compute)
        train_encoder(folder, model, scenes, 60 * minutes.encoder, compute)
        train_both(folder, model, scenes, 60 * minutes.both, compute)
        logger.info("VAE: %.1f dB on 64 new pictures, %.1f dB from the latents alone", *quality(model.cpu().eval()))
    model.save_pretrained(done)
    return model


def train_decoder(folder: Path, model: AutoencoderKL, pool: Pool, seconds: float, compute: Compute) -> None:
    """Only the way from latents to pictures; the encoder has no part in it."""

    def loss(pictures: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
        with compute.autocast():
            decoded = model.decode(latents + noise).sample
        return unlikeness(decoded.float(), pictures)

    _train([model.decoder, model.post_quant_conv], loss, pool, folder / "decoder.checkpoint.pt", seconds, RATE, compute)


def train_encoder(folder: Path, model: AutoencoderKL, pool: Pool, seconds: float, compute: Compute) -> None:
    """A regression to the latents, with hardly any variance."""

    def loss(pictures: Tensor, latents: Tensor, _noise: Tensor) -> Tensor:
        with compute.autocast():
            mean, log_variance = _parameters(model, pictures)
        difference = mean - latents
        return difference.abs().mean() + difference.pow(2).mean() + _variance_error(log_variance)

    _train([model.encoder, model.quant_conv], loss, pool, folder / "encoder.checkpoint.pt", seconds, RATE, compute)


def train_both(folder: Path, model: AutoencoderKL, pool: Pool, seconds: float, compute: Compute) -> None:
    """From pictures through latents to pictures; the latents stay near to the known ones."""

    def loss(pictures: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
        with compute.autocast():
            mean, log_variance = _parameters(model, pictures)
            decoded = model.decode(mean + noise).sample
        farness = NEARNESS * (mean - latents).pow(2).mean()
        return unlikeness(decoded.float(), pictures) + farness + _variance_error(log_variance)

    _train([model], loss, pool, folder / "both.checkpoint.pt", seconds, RATE_OF_BOTH, compute)


def unlikeness(decoded: Tensor, pictures: Tensor) -> Tensor:
    """Of pictures -1..1, and of their edges."""
    difference = decoded - pictures
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    return difference.abs().mean() + 0.5 * difference.pow(2).mean() + 0.3 * edges


def _parameters(model: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and logarithm of the variance, [picture, 4, 16, 16] each."""
    mean, log_variance = model.encode(pictures).latent_dist.parameters.float().chunk(2, dim=1)
    return mean, log_variance


def _variance_error(log_variance: Tensor) -> Tensor:
    return 1e-3 * (log_variance - LOG_VARIANCE).pow(2).mean()


def _train(
    modules: list[nn.Module], loss: Loss, pool: Pool, checkpoint: Path, seconds: float, rate: float, compute: Compute
) -> None:
    if seconds <= 0:
        return

    def draw(_step: int, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        pictures, latents = whole_pictures(pool, BATCH_ON_GPU) if compute.is_gpu else _batch(pool, progress)
        spread = LATENT_NOISE * 2 * torch.rand(len(latents), 1, 1, 1, device=latents.device)
        return pictures, latents, spread * torch.randn_like(latents)

    train(
        modules, draw, loss, compute, checkpoint=checkpoint, seconds=seconds, highest_rate=rate, falls_over=0.5,
        average_over=100, weight_decay=0.0,
    )  # fmt: skip


@torch.no_grad()
def encode(model: AutoencoderKL, pictures: np.ndarray, compute: Compute, at_once: int = 100) -> Tensor:
    """What the UNet learns: the encoder's latents, divided by `DEVIATION`.

    Args:
        pictures: [picture, 128, 128, 3] uint8.

    Returns:
        [picture, 4, 16, 16] float32, on the device.
    """
    found = []
    for some in to_tensor(pictures).split(at_once):
        with compute.autocast():
            found.append(_parameters(model, to_input(some.to(compute.device)))[0])
    return torch.cat(found) / DEVIATION


def to_tensor(pictures: np.ndarray) -> Tensor:
    """[picture, height, width, 3] uint8 to [picture, 3, height, width] uint8."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def to_input(pictures: Tensor) -> Tensor:
    """uint8 to -1..1, as the VAE wants it."""
    return pictures.float() / 127.5 - 1


@torch.no_grad()
def quality(model: AutoencoderKL) -> tuple[float, float]:
    """Signal to noise of 64 new scenes in decibels: through both halves, and through the decoder alone."""
    pool = make_pool([draw_pictures(random.Random(99), 64, small_share=0.0)])
    pictures = to_input(pool.pictures)
    both = model.decode(model.encode(pictures).latent_dist.mean).sample
    alone = model.decode(pool.latents).sample
    both_db, alone_db = (10 * torch.log10(4 / (decoded - pictures).pow(2).mean()) for decoded in (both, alone))
    return float(both_db), float(alone_db)


def _new_autoencoder() -> AutoencoderKL:
    model = make_autoencoder()
    for name, parameter in model.named_parameters():
        if name.endswith("conv2.weight"):  # residual branches start at a tenth: stable at a high learning rate
            parameter.data.mul_(0.1)
    model.register_to_config(scaling_factor=1 / DEVIATION)
    return model


def whole_pictures(pool: Pool, count: int) -> tuple[Tensor, Tensor]:
    """Pictures -1..1 and their latents."""
    chosen = torch.randint(0, len(pool.latents), (count,), device=pool.latents.device)
    return to_input(pool.pictures[chosen]), pool.latents[chosen]


def _batch(pool: Pool, progress: float) -> tuple[Tensor, Tensor]:
    """Pictures -1..1 and their latents: crops that show something, at last whole ones."""
    if progress >= CROPS_UNTIL:
        return whole_pictures(pool, BATCH // 4)
    scenes = torch.randint(0, len(pool.latents), (2 * BATCH,)).tolist()
    corners = torch.randint(0, CELLS - CROP_CELLS + 1, (2 * BATCH, 2)).tolist()
    latents = torch.stack(
        [pool.latents[i, :, y : y + CROP_CELLS, x : x + CROP_CELLS] for i, (y, x) in zip(scenes, corners)]
    )
    interest = latents[:, 3].mean(dim=(1, 2)) + 0.1 * torch.rand(2 * BATCH)
    best = interest.topk(BATCH).indices
    size = CROP_CELLS * CELL
    crops = [
        pool.pictures[scenes[i], :, CELL * y : CELL * y + size, CELL * x : CELL * x + size]
        for i, (y, x) in ((i, corners[i]) for i in best.tolist())
    ]
    return to_input(torch.stack(crops)), latents[best]
