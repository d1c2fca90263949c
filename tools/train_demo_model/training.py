"""What both trainings share: a learning-rate schedule by hours spent, a running average of the weights, checkpoints."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)
REPORT_EVERY = 100
SAVE_EVERY_SECONDS = 120.0


class WeightAverage:
    """An exponential moving average of parameters that starts short and grows to `longest` steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], longest: int):
        self._parameters = list(parameters)
        self._longest = longest
        self.values = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        share = max(1 / self._longest, 10 / (step + 10))
        torch._foreach_lerp_(self.values, self._parameters, share)

    @torch.no_grad()
    def copy_to_parameters(self) -> None:
        for parameter, value in zip(self._parameters, self.values):
            parameter.copy_(value)


def learning_rate(highest: float, step: int, progress: float, warm_up: int = 100) -> float:
    """Linear warm-up over `warm_up` steps, then a cosine down to a fiftieth at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return highest * min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * cosine)


def train(
    modules: list[nn.Module],
    loss_of_step: Callable[[float], tuple[Tensor, dict[str, float]]],
    *,
    checkpoint: Path,
    seconds: float,
    highest_rate: float,
    average_over: int,
    weight_decay: float,
) -> None:
    """Trains until `seconds` of training time are spent, over any number of runs, and leaves the averaged weights.

    Args:
        loss_of_step: given the progress 0..1, draws a batch and gives the loss and numbers to report.
        checkpoint: written every two minutes; read at the start when it exists.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=highest_rate, betas=(0.9, 0.99), weight_decay=weight_decay)
    average = WeightAverage(parameters, average_over)
    step, spent = _restore(checkpoint, modules, optimizer, average)
    started = last_save = time.monotonic() - spent
    last_save += spent
    reported: list[dict[str, float]] = []
    while spent < seconds:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(highest_rate, step, spent / seconds)
        loss, numbers = loss_of_step(spent / seconds)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        average.update(step)
        reported.append(numbers)
        spent = time.monotonic() - started
        if step % REPORT_EVERY == 0:
            means = {name: sum(row[name] for row in reported) / len(reported) for name in numbers}
            logger.info("step %d, %.0f s: %s", step, spent, {name: round(mean, 5) for name, mean in means.items()})
            reported.clear()
        if time.monotonic() - last_save > SAVE_EVERY_SECONDS:
            _save(checkpoint, modules, optimizer, average, step, spent)
            last_save = time.monotonic()
    _save(checkpoint, modules, optimizer, average, step, spent)
    average.copy_to_parameters()


def _save(
    path: Path,
    modules: list[nn.Module],
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    step: int,
    spent: float,
) -> None:
    state = {
        "modules": [module.state_dict() for module in modules],
        "optimizer": optimizer.state_dict(),
        "average": average.values,
        "step": step,
        "spent": spent,
        "random": torch.get_rng_state(),
    }
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _restore(
    path: Path, modules: list[nn.Module], optimizer: torch.optim.Optimizer, average: WeightAverage
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path)
    for module, values in zip(modules, state["modules"]):
        module.load_state_dict(values)
    optimizer.load_state_dict(state["optimizer"])
    average.values = state["average"]
    torch.set_rng_state(state["random"])
    logger.info("going on from %s: step %d, %.0f s", path, state["step"], state["spent"])
    return int(state["step"]), float(state["spent"])
