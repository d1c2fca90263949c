"""Trains the UNet and the text encoder together, from noise predictions alone.

No loss looks at the attention: where the words look is the model's own finding, so that it can be measured.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from .networks import make_scheduler, make_text_encoder, make_unet
from .training import train

logger = logging.getLogger(__name__)
BATCH = 32
DROPPED_CAPTIONS = 0.1
OFFSET_NOISE = 0.1
"""Noise that is equal over the whole latent: without it the noise schedule hides background colours too little."""


def train_diffusion(
    folder: Path,
    data: dict[str, object],
    seconds: float,
    start: tuple[UNet2DConditionModel, CLIPTextModel] | None = None,
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The trained UNet and a text encoder of the compact vocabulary, both with averaged weights.

    Args:
        start: networks to train on; None begins with random ones.
    """
    torch.manual_seed(1)
    rows = data["rows"]
    assert isinstance(rows, dict)
    unet, text_encoder = start or (make_unet(), make_text_encoder(1 + len(rows) + 2))
    unet.train(), text_encoder.train()
    loss = NoiseLoss(unet, text_encoder, data)
    train(
        [unet, text_encoder],
        lambda progress: loss(),
        checkpoint=folder / "diffusion.checkpoint.pt",
        seconds=seconds,
        highest_rate=1e-3,
        average_over=400,
        weight_decay=0.01,
    )
    return unet.eval(), text_encoder.eval()


class NoiseLoss:
    """Draws batches of the data and measures the predicted noise."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, data: dict[str, object]):
        self._unet, self._text_encoder = unet, text_encoder
        latents, tokens = data["latents"], data["tokens"]
        assert isinstance(latents, Tensor) and isinstance(tokens, Tensor)
        self._latents, self._tokens = latents, tokens
        self._kept = make_scheduler().alphas_cumprod
        self._weights = timestep_weights(self._kept)

    def __call__(self) -> tuple[Tensor, dict[str, float]]:
        latents, tokens = self._draw()
        timesteps = torch.randint(0, len(self._kept), (BATCH,))
        noise = torch.randn_like(latents) + OFFSET_NOISE * torch.randn(BATCH, latents.shape[1], 1, 1)
        kept = self._kept[timesteps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        context = self._text_encoder(input_ids=tokens).last_hidden_state
        error = (self._unet(noisy, timesteps, context).sample - noise).pow(2).mean((1, 2, 3))
        loss = (error * self._weights[timesteps]).mean()
        return loss, {"error": error.mean().item(), "loss": loss.item()}

    def _draw(self) -> tuple[Tensor, Tensor]:
        scenes = torch.randint(0, len(self._latents), (BATCH,))
        captions = torch.randint(0, self._tokens.shape[1], (BATCH,))
        tokens = self._tokens[scenes, captions].long()
        start, end = tokens[:, :1], tokens[:, -1:]
        empty = torch.cat([start, end.expand(-1, tokens.shape[1] - 1)], dim=1)
        dropped = torch.rand(BATCH, 1) < DROPPED_CAPTIONS
        return self._latents[scenes].float(), torch.where(dropped, empty, tokens)


def timestep_weights(kept: Tensor) -> Tensor:
    """Weights that turn the loss on the noise into one on the velocity, held between both ends.

    Args:
        kept: cumulative product of the alphas, [timestep].

    Returns:
        [timestep], mean 1. At most five times more at the noisy end, where the layout is decided, than noise
        prediction has by itself, and min-SNR-5 (Hang et al., 2023) at the clean end.
    """
    ratio = kept / (1 - kept)
    weights = (1 + 1 / ratio).clamp(max=5) * (5 / ratio).clamp(max=1)
    return weights / weights.mean()
