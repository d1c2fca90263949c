"""Trains the VAE: pictures to latents of an eighth of their size and back."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .networks import make_autoencoder
from .scenes import SIZE, make_scene
from .training import train

logger = logging.getLogger(__name__)
POOL = 6000
CROP = 64
BATCH = 8


def train_autoencoder(folder: Path, seconds: float) -> AutoencoderKL:
    """The trained VAE; saved in `folder / "vae"`, taken from there when it is already trained."""
    done = folder / "vae"
    if done.exists():
        return AutoencoderKL.from_pretrained(done).eval()
    torch.manual_seed(0)
    rng = random.Random(7)
    pool = to_tensor(np.stack([make_scene(rng).picture for _ in range(POOL)]))
    model = make_autoencoder()
    for name, parameter in model.named_parameters():
        if name.endswith("conv2.weight"):  # residual branches start at a tenth: stable at a high learning rate
            parameter.data.mul_(0.1)
    train(
        [model],
        lambda progress: _loss(model, _batch(pool, progress)),
        checkpoint=folder / "vae.checkpoint.pt",
        seconds=seconds,
        highest_rate=1.5e-3,
        average_over=100,
        weight_decay=0.0,
    )
    _set_scaling_factor(model.eval())
    model.save_pretrained(done)
    return model


def to_tensor(pictures: np.ndarray) -> Tensor:
    """[picture, height, width, 3] uint8 to [picture, 3, height, width] uint8."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def to_input(pictures: Tensor) -> Tensor:
    """uint8 to -1..1, as the VAE wants it."""
    return pictures.float() / 127.5 - 1


def _batch(pool: Tensor, progress: float) -> Tensor:
    """Crops that show something; in the last quarter whole pictures, so that GroupNorm sees what it will see."""
    if progress > 0.75:
        return to_input(pool[torch.randint(0, len(pool), (BATCH // 4,))])
    chosen = torch.randint(0, len(pool), (2 * BATCH,)).tolist()
    corners = (torch.randint(0, (SIZE - CROP) // 8 + 1, (2 * BATCH, 2)) * 8).tolist()
    crops = to_input(torch.stack([pool[i, :, y : y + CROP, x : x + CROP] for i, (y, x) in zip(chosen, corners)]))
    interest = crops.std((2, 3)).mean(1) + 0.35 * torch.rand(2 * BATCH)
    return crops[interest.topk(BATCH).indices]


def _loss(model: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, dict[str, float]]:
    posterior = model.encode(pictures).latent_dist
    difference = model.decode(posterior.sample()).sample - pictures
    absolute, squared = difference.abs().mean(), difference.pow(2).mean()
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    divergence = 0.5 * (posterior.mean**2 + posterior.logvar.exp() - 1 - posterior.logvar).mean()
    loss = absolute + 0.5 * squared + 0.3 * edges + 1e-4 * divergence
    return loss, {"absolute error": absolute.item(), "squared error": squared.item(), "divergence": divergence.item()}


@torch.no_grad()
def _set_scaling_factor(model: AutoencoderKL) -> None:
    """Latents of unit deviation; also reports the quality on scenes that were not trained on."""
    rng = random.Random(99)
    pictures = to_input(to_tensor(np.stack([make_scene(rng).picture for _ in range(64)])))
    latents = model.encode(pictures).latent_dist.mean
    error = (model.decode(latents).sample - pictures).pow(2).mean()
    logger.info("VAE: %.1f dB on 64 new pictures", 10 * torch.log10(4 / error).item())
    model.register_to_config(scaling_factor=1 / latents.std().item())
