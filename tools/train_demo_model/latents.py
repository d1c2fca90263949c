"""The latents that the model learns: what is seen in each cell of 8x8 pixels, without any network.

Latents that are known from the start let the two halves of the VAE train apart, and the UNet before either.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .scenes import SIZE

CELL = 8
DEVIATION = 0.6
"""Of the cells' values, roughly: latents are divided by it, and the VAE's scaling factor is its inverse."""
CONTRAST_SCALE, CONTRAST_MEAN = 3.0, 0.3


def cell_latents(pictures: np.ndarray) -> Tensor:
    """Mean colour and contrast of each cell.

    Args:
        pictures: [picture, height, width, 3] uint8; sizes in whole cells.

    Returns:
        [picture, 4, height / 8, width / 8] float32: the mean of red, green and blue from -1 to 1, and the deviation of
        the brightness brought to a like range; all divided by `DEVIATION`.
    """
    count, height, width, _ = pictures.shape
    values = torch.tensor(pictures).float() / 127.5 - 1
    cells = values.view(count, height // CELL, CELL, width // CELL, CELL, 3)
    colours = cells.mean(dim=(2, 4)).permute(0, 3, 1, 2)
    contrast = cells.mean(dim=-1).std(dim=(2, 4), correction=0) * CONTRAST_SCALE - CONTRAST_MEAN
    return torch.cat([colours, contrast[:, None]], dim=1) / DEVIATION


def enlarged(latents: Tensor) -> np.ndarray:
    """What latents show without a decoder: their colours, blown up softly; [picture, 128, 128, 3] uint8."""
    small = ((latents[:, :3] * DEVIATION + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    return np.stack([np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.BICUBIC)) for picture in small])
