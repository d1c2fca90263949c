"""Muon for matrices and convolutions, AdamW for everything else, behind the face of one optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

OUTSIDE = ("conv_in", "conv_out", "embedding.weight")
"""Parts of names: the first and last layers and the tables of words are AdamW's, as Muon's authors advise."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


@torch.no_grad()
def orthogonalised(stack: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The nearest matrices whose singular values are all about 1, by Newton-Schulz (Jordan et al., 2024).

    Args:
        stack: [matrix, row, column].
        dtype: of the products; bfloat16 is exact enough.

    Returns:
        The same shape and type as `stack`; singular values from 0.7 to 1.2.
    """
    first, second, third = NEWTON_SCHULZ
    is_tall = stack.shape[1] > stack.shape[2]
    values = (stack.mT if is_tall else stack).to(dtype)
    values = values / (values.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = values @ values.mT
        values = first * values + (second * gram + third * gram @ gram) @ values
    return (values.mT if is_tall else values).to(stack.dtype)


class MuonWithAdamW:
    """One rate for both: Muon's updates are scaled to the size of AdamW's (Liu et al., 2025)."""

    def __init__(
        self,
        modules: Iterable[nn.Module],
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
        momentum: float = 0.95,
    ):
        named = [pair for module in modules for pair in module.named_parameters()]
        self.parameters = [parameter for _, parameter in named]
        others: list[nn.Parameter] = []
        self._groups: dict[tuple[int, int], list[nn.Parameter]] = {}
        for name, parameter in named:
            if parameter.dim() < 2 or any(part in name for part in OUTSIDE):
                others.append(parameter)
            else:
                self._groups.setdefault((parameter.shape[0], parameter[0].numel()), []).append(parameter)
        is_gpu = any(parameter.is_cuda for parameter in others)
        self._adam = torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=weight_decay, capturable=is_gpu)
        self._momentum, self._weight_decay, self._dtype = momentum, weight_decay, dtype
        self._buffers = {
            shape: torch.zeros(len(group), *shape, device=group[0].device) for shape, group in self._groups.items()
        }

    @torch.no_grad()
    def step(self, rate: float | Tensor) -> None:
        """Takes the gradients into the weights, and clears them.

        Args:
            rate: on a GPU a tensor of one number, so that a recorded step follows it.
        """
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        for shape, parameters in self._groups.items():
            self._step_of_a_shape(shape, parameters, rate)
        for parameter in self.parameters:
            parameter.grad = None

    def _step_of_a_shape(self, shape: tuple[int, int], parameters: list[nn.Parameter], rate: float | Tensor) -> None:
        gradients = torch.stack([_gradient(parameter).reshape(shape) for parameter in parameters])
        buffer = self._buffers[shape]
        buffer.lerp_(gradients, 1 - self._momentum)
        updates = orthogonalised(torch.lerp(gradients, buffer, self._momentum), self._dtype)
        updates = updates * (rate * 0.2 * max(shape) ** 0.5)
        torch._foreach_mul_(parameters, 1 - rate * self._weight_decay)
        torch._foreach_sub_(parameters, [update.view_as(each) for each, update in zip(parameters, updates)])

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self._adam.state_dict(), "muon": self._buffers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state["adam"])
        for shape, buffer in state["muon"].items():
            self._buffers[shape].copy_(buffer)


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
