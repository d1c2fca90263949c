"""Weights for a model that nobody has trained: random, but of the sizes that keep a picture from turning black."""

from __future__ import annotations

import torch

SCHEDULE = ("betas", "alphas", "sqrt", "log_", "posterior", "logvar")
"""Beginnings of the names of tensors that hold the noise schedule."""


def randomised(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of even size for their fan-in; norms and biases near one and zero, but never exactly."""
    found = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or name.startswith(SCHEDULE):
            found[name] = tensor
        elif tensor.dim() >= 2:
            found[name] = torch.randn_like(tensor) / tensor[0].numel() ** 0.5
        elif name.endswith("bias"):
            found[name] = 0.05 * torch.randn_like(tensor)
        elif tensor.dim() == 1:
            found[name] = 1 + 0.1 * torch.randn_like(tensor)
        else:
            found[name] = tensor
        if "attn2.to_q" in name or "attn2.to_k" in name:
            found[name] = 2 * found[name]
        if "token_embedding" in name or "position_embedding" in name or name.endswith("positional_embedding"):
            found[name] = 0.3 * torch.randn_like(tensor)
    return found
