"""One step of a training: loss, gradients, weights and their average; on a GPU recorded once and played again.

A step of these small networks is thousands of small kernels. On a GPU the processor cannot launch them as fast as they
are worked off; as a CUDA graph one launch is enough for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .compute import Compute
from .optimizer import MuonWithAdamW

Loss = Callable[..., Tensor]
"""Of a batch, which is one tensor or several."""
WARM_UP_STEPS = 3
"""Taken before one is recorded, so that every library has made what it keeps."""


class WeightAverage:
    """An exponential moving average of parameters that starts short and grows to `longest` steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], longest: int):
        self._parameters = list(parameters)
        self._longest = longest
        self.values = [parameter.detach().clone() for parameter in self._parameters]

    def share(self, step: int) -> float:
        """How much of a step's weights goes into the average."""
        return max(1 / self._longest, 10 / (step + 10))

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        differences = torch._foreach_sub(self._parameters, self.values)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(self.values, differences)

    @torch.no_grad()
    def copy_to_parameters(self) -> None:
        for parameter, value in zip(self._parameters, self.values):
            parameter.copy_(value)


class Steps:
    """Steps one after the other, as they come."""

    def __init__(self, loss: Loss, optimizer: MuonWithAdamW, average: WeightAverage):
        self._loss, self._optimizer, self._average = loss, optimizer, average

    def __call__(self, batch: tuple[Tensor, ...], rate: float | Tensor, share: float | Tensor) -> Tensor:
        """The loss of the batch, before the weights follow it."""
        loss = self._loss(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self._optimizer.parameters, 1.0)
        self._optimizer.step(rate)
        self._average.update(share)
        return loss.detach()


class RecordedSteps:
    """The same on a GPU: for each shape of a batch a few steps as they come, then one that is recorded and played."""

    def __init__(self, steps: Steps, device: torch.device):
        self._steps, self._device = steps, device
        self._rate, self._share = torch.zeros((), device=device), torch.zeros((), device=device)
        self._taken: dict[tuple[torch.Size, ...], int] = {}
        self._recordings: dict[tuple[torch.Size, ...], tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}

    def __call__(self, batch: tuple[Tensor, ...], rate: float, share: float) -> Tensor:
        self._rate.fill_(rate)
        self._share.fill_(share)
        shapes = tuple(each.shape for each in batch)
        taken = self._taken[shapes] = self._taken.get(shapes, 0) + 1
        if taken <= WARM_UP_STEPS:
            return self._aside(batch)
        if shapes not in self._recordings:
            self._recordings[shapes] = self._record(batch)
        recording, inputs, loss = self._recordings[shapes]
        for kept, new in zip(inputs, batch):
            kept.copy_(new)
        recording.replay()
        return loss.clone()

    def _aside(self, batch: tuple[Tensor, ...]) -> Tensor:
        """A step on a stream of its own, as recordings ask for what goes before them."""
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            loss = self._steps(batch, self._rate, self._share)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        return loss

    def _record(self, batch: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]:
        inputs, recording = tuple(each.clone() for each in batch), torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording):
            loss = self._steps(inputs, self._rate, self._share)
        return recording, inputs, loss


def make_steps(loss: Loss, optimizer: MuonWithAdamW, average: WeightAverage, compute: Compute) -> Steps | RecordedSteps:
    steps = Steps(loss, optimizer, average)
    return RecordedSteps(steps, compute.device) if compute.is_gpu else steps
