"""What all trainings share: a rate that follows the time spent, checkpoints, what is said meanwhile."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from .compute import Compute
from .optimizer import MuonWithAdamW
from .steps import Loss, WeightAverage, make_steps

logger = logging.getLogger(__name__)
Draw = Callable[[int, float], tuple[Tensor, ...]]
REPORT_EVERY = 100
SAVE_EVERY_SECONDS = 120.0
WARM_UP = 50
LEAST_RATE = 0.02
"""Of the highest."""


def learning_rate(highest: float, step: int, progress: float, falls_over: float) -> float:
    """Linear warm-up over the first steps, the highest, then linearly down over the last share `falls_over`."""
    falling = min(1.0, (1 - min(1.0, progress)) / falls_over)
    return highest * min(1.0, (step + 1) / WARM_UP) * max(LEAST_RATE, falling)


def train(
    modules: list[nn.Module],
    draw: Draw,
    loss: Loss,
    compute: Compute,
    *,
    checkpoint: Path,
    seconds: float,
    highest_rate: float,
    falls_over: float,
    average_over: int,
    weight_decay: float,
) -> None:
    """Trains until so many seconds are spent, over any number of runs, and leaves the averaged weights.

    Args:
        modules: on the device of `compute` already.
        draw: given the number of the step and the progress 0..1, a batch on that device.
        loss: of such a batch.
        seconds: on a processor those of this process's own computing, all its threads together, so that what else the
            machine does counts for nothing; on a GPU those that pass.
        checkpoint: written every two minutes; read at the start when it exists.
        falls_over: the last share of the time, in which the rate falls.
    """
    optimizer = MuonWithAdamW(modules, weight_decay, compute.dtype)
    average = WeightAverage(optimizer.parameters, average_over)
    step, spent = _restore(checkpoint, modules, optimizer, average, compute)
    take_step = make_steps(loss, optimizer, average, compute)
    clock = time.monotonic if compute.is_gpu else time.process_time
    started = clock() - spent
    last_save = time.monotonic()
    losses: list[Tensor] = []
    while spent < seconds:
        batch = draw(step, spent / seconds)
        rate = learning_rate(highest_rate, step, spent / seconds, falls_over)
        step += 1
        losses.append(take_step(batch, rate, average.share(step)))
        spent = clock() - started
        if step % REPORT_EVERY == 0:
            mean = float(torch.stack(losses).mean())
            logger.info("%s, step %d, %.0f of %.0f s: loss %.5f", checkpoint.stem, step, spent, seconds, mean)
            losses.clear()
        if time.monotonic() - last_save > SAVE_EVERY_SECONDS:
            _save(checkpoint, modules, optimizer, average, step, spent)
            last_save = time.monotonic()
    _save(checkpoint, modules, optimizer, average, step, spent)
    average.copy_to_parameters()


def _save(
    path: Path, modules: list[nn.Module], optimizer: MuonWithAdamW, average: WeightAverage, step: int, spent: float
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
    path: Path, modules: list[nn.Module], optimizer: MuonWithAdamW, average: WeightAverage, compute: Compute
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu")
    for module, values in zip(modules, state["modules"]):
        module.load_state_dict(values)
    optimizer.load_state_dict(state["optimizer"])
    average.values = [value.to(compute.device) for value in state["average"]]
    torch.set_rng_state(state["random"])
    logger.info("going on from %s: step %d, %.0f s", path, state["step"], state["spent"])
    return int(state["step"]), float(state["spent"])
