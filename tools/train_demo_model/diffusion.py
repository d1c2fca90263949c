"""Trains the UNet and the text encoder together, from velocity predictions alone.

No loss looks at the attention: where the words look is the model's own finding, so that it can be measured.
"""

from __future__ import annotations

from dataclasses import replace
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

BATCH = 32
HIGHEST_RATE = 2e-3
HIGHEST_RATE_OF_TRAINED = 6e-4
"""Networks that are trained on: a higher rate would first undo what they have."""
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
    loss = VelocityLoss(unet, text_encoder, data, compute)
    first_step = 0 if start is None else curriculum.EASY_STEPS
    train(
        [unet, text_encoder],
        lambda step, progress: loss(first_step + step),
        compute,
        checkpoint=folder / "diffusion.checkpoint.pt",
        seconds=seconds,
        highest_rate=HIGHEST_RATE if start is None else HIGHEST_RATE_OF_TRAINED,
        falls_over=0.4 if start is None else 1.0,
        average_over=300,
        weight_decay=0.01,
    )
    unet.set_attn_processor(usual)
    return unet.cpu().eval(), text_encoder.cpu().eval()


class VelocityLoss:
    """Draws batches of the data and measures the predicted velocity (Salimans & Ho, 2022)."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, data: Data, compute: Compute):
        self._unet, self._text_encoder, self._compute = unet, text_encoder, compute
        self._data = replace(data, tokens=data.tokens[..., :CONTEXT])
        self._kept = make_scheduler().alphas_cumprod
        self._density = timestep_density(self._kept)
        self._mask = context_mask(BATCH, compute.device)

    def __call__(self, step: int) -> Tensor:
        device = self._compute.device
        latents, tokens = self._draw(curriculum.weights(self._data, step))
        timesteps = torch.multinomial(self._density, BATCH, replacement=True)
        noise = torch.randn_like(latents) + OFFSET_NOISE * torch.randn(BATCH, latents.shape[1], 1, 1)
        kept = self._kept[timesteps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
        with self._compute.autocast():
            context = self._text_encoder(input_ids=tokens.to(device)).last_hidden_state
            predicted = self._unet(
                noisy.to(device), timesteps.to(device), context, encoder_attention_mask=self._mask
            ).sample
        return (predicted.float() - velocity.to(device)).pow(2).mean()

    def _draw(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Latents, and one caption of each as rows of the vocabulary, some of them empty."""
        scenes = torch.multinomial(weights, BATCH, replacement=True)
        captions = torch.randint(0, self._data.tokens.shape[1], (BATCH,))
        tokens = self._data.tokens[scenes, captions].long()
        start, end = tokens[:, :1], tokens[:, -1:]
        empty = torch.cat([start, end.expand(-1, CONTEXT - 1)], dim=1)
        dropped = torch.rand(BATCH, 1) < DROPPED_CAPTIONS
        return self._data.latents[scenes].float(), torch.where(dropped, empty, tokens)


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
