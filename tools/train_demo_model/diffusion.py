"""Trains the UNet and the text encoder together, from velocity predictions alone.

No loss looks at the attention: where the words look is the model's own finding, so that it can be measured.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from . import curriculum
from .attention import CONTEXT, PlainAttention, context_mask
from .compute import Compute
from .dataset import Data
from .networks import make_scheduler, make_text_encoder, make_unet
from .training import train

BATCH, BATCH_ON_GPU = 32, 256
HIGHEST_RATE = 2e-3
HIGHEST_RATE_OF_TRAINED, HIGHEST_RATE_OF_TRAINED_ON_GPU = 6e-4, 1.2e-3
"""Networks that are trained on: a higher rate would first undo what they have; larger batches bear more."""
DROPPED_CAPTIONS = 0.1
OFFSET_NOISE = 0.1
"""Noise that is equal over the whole latent: without it the noise schedule hides background colours too little."""
LOG_SIGMA_MEAN, LOG_SIGMA_DEVIATION = 0.5, 0.9
EVEN_SHARE = 0.3
"""Of the timesteps, drawn evenly over all; the others where shapes are decided."""


def train_diffusion(
    folder: Path,
    data: Data,
    seconds: float,
    compute: Compute,
    start: tuple[UNet2DConditionModel, CLIPTextModel] | None = None,
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The trained UNet and a text encoder of the compact vocabulary, both with averaged weights, on the CPU.

    Args:
        start: networks to train on, past the easy scenes; None begins with random ones.
    """
    torch.manual_seed(1)
    unet, text_encoder = start or (make_unet(), make_text_encoder(1 + len(data.rows) + 2))
    for network in (unet, text_encoder):
        network.train().to(compute.device)
    usual = unet.attn_processors
    unet.set_attn_processor(PlainAttention())
    batch = BATCH_ON_GPU if compute.is_gpu else BATCH
    rate_of_trained = HIGHEST_RATE_OF_TRAINED_ON_GPU if compute.is_gpu else HIGHEST_RATE_OF_TRAINED
    train(
        [unet, text_encoder],
        Batches(data, batch, compute.device, easy_steps=curriculum.easy_steps(batch) if start is None else 0).draw,
        VelocityLoss(unet, text_encoder, batch, compute),
        compute,
        checkpoint=folder / "diffusion.checkpoint.pt",
        seconds=seconds,
        highest_rate=HIGHEST_RATE if start is None else rate_of_trained,
        falls_over=0.4 if start is None else 1.0,
        average_over=300,
        weight_decay=0.01,
    )
    unet.set_attn_processor(usual)
    return unet.cpu().eval(), text_encoder.cpu().eval()


class Batches:
    """Draws scenes, a caption of each, timesteps and noise; all on the device, so that a GPU waits for nothing."""

    def __init__(self, data: Data, batch: int, device: torch.device, easy_steps: int):
        self._batch, self._device, self._easy_steps = batch, device, easy_steps
        self._easy, self._all = (
            weights.to(device) for weights in (curriculum.easy_weights(data), curriculum.weights(data))
        )
        self._latents, self._tokens = data.latents.to(device), data.tokens[..., :CONTEXT].to(device)
        self._density = timestep_density(make_scheduler().alphas_cumprod).to(device)

    def draw(self, step: int, _progress: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents [batch, 4, 16, 16], rows of the vocabulary [batch, token], some captions empty, timesteps [batch],
        noise like the latents."""
        batch, device = self._batch, self._device
        scenes = torch.multinomial(self._easy if step < self._easy_steps else self._all, batch, replacement=True)
        captions = torch.randint(0, self._tokens.shape[1], (batch,), device=device)
        tokens = self._tokens[scenes, captions].long()
        start, end = tokens[:, :1], tokens[:, -1:]
        empty = torch.cat([start, end.expand(-1, CONTEXT - 1)], dim=1)
        dropped = torch.rand(batch, 1, device=device) < DROPPED_CAPTIONS
        latents = self._latents[scenes].float()
        even = torch.randn(batch, latents.shape[1], 1, 1, device=device)
        timesteps = torch.multinomial(self._density, batch, replacement=True)
        return latents, torch.where(dropped, empty, tokens), timesteps, torch.randn_like(latents) + OFFSET_NOISE * even


class VelocityLoss:
    """Measures the predicted velocity of a batch (Salimans & Ho, 2022)."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, batch: int, compute: Compute):
        self._unet, self._text_encoder, self._compute = unet, text_encoder, compute
        self._kept = make_scheduler().alphas_cumprod.to(compute.device)
        self._mask = context_mask(batch, compute.device)

    def __call__(self, latents: Tensor, tokens: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        kept = self._kept[timesteps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
        with self._compute.autocast():
            context = self._text_encoder(input_ids=tokens).last_hidden_state
            predicted = self._unet(noisy, timesteps, context, encoder_attention_mask=self._mask).sample
        return (predicted.float() - velocity).pow(2).mean()


def timestep_density(kept: Tensor) -> Tensor:
    """How often each timestep is drawn: log-normal in the noise level (Karras et al., 2022), and some evenly.

    Args:
        kept: cumulative product of the alphas, [timestep].

    Returns:
        [timestep], sums to 1.
    """
    log_sigma = ((1 - kept) / kept).log() / 2
    width = log_sigma.diff(append=log_sigma[-1:]).abs().clamp(min=1e-4)
    density = torch.exp(-((log_sigma - LOG_SIGMA_MEAN) ** 2) / (2 * LOG_SIGMA_DEVIATION**2)) * width
    return (1 - EVEN_SHARE) * density / density.sum() + EVEN_SHARE / len(kept)
