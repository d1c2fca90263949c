"""Trains the VAE for latents that are known (`latents.py`): the decoder to draw from them, the encoder to find them."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .compute import Compute
from .latents import CELL, DEVIATION, cell_latents
from .networks import make_autoencoder
from .scenes import SIZE, make_scene
from .training import train

logger = logging.getLogger(__name__)
POOL = 6000
SMALL_SHARE = 0.6
"""Of the pool's scenes that have a small object: there the decoder errs most."""
BATCH = 8
CELLS = SIZE // CELL
CROP_CELLS = 8
CROPS_UNTIL = 0.7
"""Of the training; then whole pictures, so that GroupNorm sees what it will see."""
LATENT_NOISE = 0.08
"""Mean deviation of the noise on latents through which the decoder learns to see: the UNet's are never exact."""
DECODER_RATE, ENCODER_RATE = 2e-3, 2e-3
LOG_VARIANCE = -8.0


@dataclass(frozen=True)
class Pool:
    """Scenes: pictures [scene, 3, 128, 128] uint8 and their latents [scene, 4, 16, 16], not divided by `DEVIATION`."""

    pictures: Tensor
    latents: Tensor


def draw_pool(count: int, seed: int = 7, small_share: float = 0.0) -> Pool:
    """So many scenes, of which at least this share has a small object."""
    rng = random.Random(seed)
    pictures: list[np.ndarray] = []
    without = 0
    while len(pictures) < count:
        scene = make_scene(rng)
        if all(thing.size != "small" for thing in scene.plan.objects):
            if without >= (1 - small_share) * count:
                continue
            without += 1
        pictures.append(scene.picture)
    latents = torch.cat([cell_latents(picture[np.newaxis]) for picture in pictures])
    return Pool(to_tensor(np.stack(pictures)), latents * DEVIATION)


def train_autoencoder(
    folder: Path, decoder_seconds: float, encoder_seconds: float, compute: Compute, start: AutoencoderKL | None = None
) -> AutoencoderKL:
    """The trained VAE on the CPU; saved in `folder / "vae"`, taken from there when it is already trained.

    Args:
        start: a VAE to train on; None begins with a random one.
    """
    done = folder / "vae"
    if done.exists():
        return AutoencoderKL.from_pretrained(done).eval()
    model = start or _new_autoencoder()
    if decoder_seconds + encoder_seconds > 0:
        torch.manual_seed(2)
        pool = draw_pool(POOL, small_share=SMALL_SHARE)
        model.train().to(compute.device)
        train_decoder(folder, model, pool, decoder_seconds, compute)
        train_encoder(folder, model, pool, encoder_seconds, compute)
        logger.info("VAE: %.1f dB on 64 new pictures, %.1f dB from the latents alone", *quality(model.cpu().eval()))
    model.save_pretrained(done)
    return model


def train_decoder(folder: Path, model: AutoencoderKL, pool: Pool, seconds: float, compute: Compute) -> None:
    """Only the way from latents to pictures; the encoder has no part in it."""

    def loss(step: int, progress: float) -> Tensor:
        pictures, latents = _batch(pool, progress)
        spread = LATENT_NOISE * 2 * torch.rand(len(latents), 1, 1, 1)
        noisy = (latents + spread * torch.randn_like(latents)).to(compute.device)
        with compute.autocast():
            decoded = model.decode(noisy).sample
        difference = decoded.float() - pictures.to(compute.device)
        edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        return difference.abs().mean() + 0.5 * difference.pow(2).mean() + 0.3 * edges

    train(
        [model.decoder, model.post_quant_conv], loss, compute, checkpoint=folder / "decoder.checkpoint.pt",
        seconds=seconds, highest_rate=DECODER_RATE, falls_over=0.5, average_over=100, weight_decay=0.0,
    )  # fmt: skip


def train_encoder(folder: Path, model: AutoencoderKL, pool: Pool, seconds: float, compute: Compute) -> None:
    """A regression to the latents, with hardly any variance."""

    def loss(step: int, progress: float) -> Tensor:
        pictures, latents = _batch(pool, progress)
        with compute.autocast():
            posterior = model.encode(pictures.to(compute.device)).latent_dist
        mean, log_variance = posterior.parameters.float().chunk(2, dim=1)
        difference = mean - latents.to(compute.device)
        return difference.abs().mean() + difference.pow(2).mean() + 1e-3 * (log_variance - LOG_VARIANCE).pow(2).mean()

    train(
        [model.encoder, model.quant_conv], loss, compute, checkpoint=folder / "encoder.checkpoint.pt",
        seconds=seconds, highest_rate=ENCODER_RATE, falls_over=0.5, average_over=100, weight_decay=0.0,
    )  # fmt: skip


def to_tensor(pictures: np.ndarray) -> Tensor:
    """[picture, height, width, 3] uint8 to [picture, 3, height, width] uint8."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def to_input(pictures: Tensor) -> Tensor:
    """uint8 to -1..1, as the VAE wants it."""
    return pictures.float() / 127.5 - 1


@torch.no_grad()
def quality(model: AutoencoderKL) -> tuple[float, float]:
    """Signal to noise of 64 new scenes in decibels: through both halves, and through the decoder alone."""
    pool = draw_pool(64, seed=99)
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


def _batch(pool: Pool, progress: float) -> tuple[Tensor, Tensor]:
    """Pictures -1..1 and their latents: crops that show something, at last whole ones."""
    if progress >= CROPS_UNTIL:
        chosen = torch.randint(0, len(pool.latents), (BATCH // 4,))
        return to_input(pool.pictures[chosen]), pool.latents[chosen]
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
