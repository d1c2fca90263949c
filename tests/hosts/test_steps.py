"""Steps of the sampling, as they are told from the calls of the model."""

from __future__ import annotations

import random

import pytest
import torch

from daam.hosts.diffusers_steps import Steps
from daam.tracing.conditioning import Conditioned

POSITIVE, NEGATIVE, LATER = Conditioned(0, "positive"), Conditioned(0, "negative"), Conditioned(0, "positive", 1)
SECOND = Conditioned(1, "positive")
KINDS = [
    [[NEGATIVE], [POSITIVE]], [[POSITIVE]], [[NEGATIVE]], [[NEGATIVE], [POSITIVE], [POSITIVE]], [[], []],
    [[], [POSITIVE]], [[POSITIVE, LATER]], [[NEGATIVE], [NEGATIVE], [POSITIVE, SECOND], [POSITIVE, SECOND]],
]  # fmt: skip


@pytest.mark.parametrize("kinds", [(0,), (0, 3), (1, 2), (4, 5), (6,), (7, 7), range(len(KINDS))])
def test_what_was_found_in_the_call_before_is_taken_only_where_it_would_be_found_again(kinds: tuple[int, ...]) -> None:
    chance = random.Random(0)
    for _sampling in range(20):
        quick, plain = Steps(), Steps()
        timesteps = [torch.tensor(float(number // 2)) for number in range(40)]
        for entry, timestep in enumerate(timesteps):
            for _call in range(chance.choice((1, 1, 1, 2, 3))):
                candidates = KINDS[chance.choice(kinds)]
                plain._last = None
                arguments = (candidates, 2, entry % 2)
                again = timestep if chance.random() < 0.7 else timestep.clone()
                assert quick.texts(again, *arguments) == plain.texts(again, *arguments)
                assert (quick.number, quick._looked) == (plain.number, plain._looked)
    assert quick.number >= (0 if set(kinds) <= {4} else 10)


def test_a_step_begins_with_each_number_of_its_own() -> None:
    steps = Steps()
    for number in range(4):
        found = steps.texts(torch.tensor(1.0), KINDS[0], 1, number)
        assert found == ([NEGATIVE, POSITIVE], False) and steps.number == number
        assert (steps._last is not None) and steps._last[0] is KINDS[0]
