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


def train_decoder(folder: Path, model: AutoencoderKL, seconds: float) -> AutoencoderKL:
    """Trains only the way back to pictures on: the latents, and all that was trained on them, stay as they are."""
    torch.manual_seed(2)
    rng = random.Random(8)
    pool = to_tensor(np.stack([make_scene(rng).picture for _ in range(POOL)]))
    way_back = [model.decoder, model.post_quant_conv]
    train(
        way_back,
        lambda progress: _loss(model, to_input(pool[torch.randint(0, POOL, (BATCH // 2,))]), trains_encoder=False),
        checkpoint=folder / "decoder.checkpoint.pt",
        seconds=seconds,
        highest_rate=6e-4,
        average_over=100,
        weight_decay=0.0,
    )
    logger.info("VAE: %.1f dB on 64 new pictures with the decoder trained on", _quality(model.eval()))
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


def _loss(model: AutoencoderKL, pictures: Tensor, *, trains_encoder: bool = True) -> tuple[Tensor, dict[str, float]]:
    with torch.set_grad_enabled(trains_encoder):
        posterior = model.encode(pictures).latent_dist
    difference = model.decode(posterior.sample()).sample - pictures
    absolute, squared = difference.abs().mean(), difference.pow(2).mean()
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    divergence = 0.5 * (posterior.mean**2 + posterior.logvar.exp() - 1 - posterior.logvar).mean()
    loss = absolute + 0.5 * squared + 0.3 * edges + 1e-4 * divergence
    return loss, {"absolute error": absolute.item(), "squared error": squared.item(), "divergence": divergence.item()}


def _new_pictures() -> Tensor:
    """64 scenes that were not trained on."""
    rng = random.Random(99)
    return to_input(to_tensor(np.stack([make_scene(rng).picture for _ in range(64)])))


@torch.no_grad()
def _quality(model: AutoencoderKL) -> float:
    """Signal to noise of new pictures that were encoded and decoded, in decibels."""
    pictures = _new_pictures()
    error = (model.decode(model.encode(pictures).latent_dist.mean).sample - pictures).pow(2).mean()
    return float(10 * torch.log10(4 / error))


@torch.no_grad()
def _set_scaling_factor(model: AutoencoderKL) -> None:
    """Latents of unit deviation; also reports the quality."""
    latents = model.encode(_new_pictures()).latent_dist.mean
    logger.info("VAE: %.1f dB on 64 new pictures", _quality(model))
    model.register_to_config(scaling_factor=1 / latents.std().item())
