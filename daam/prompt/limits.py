"""How much one prompt may ask for, so that every prompt is answered or refused within seconds."""

from __future__ import annotations

from daam.errors import PromptError

MAX_CHARACTERS = 100_000
"""Characters of the typed prompt."""

MAX_STEPS = 10_000
"""Sampling steps."""

MAX_SCHEDULED_CHARACTERS = 400_000
"""Characters of all different texts of all schedules together."""

MAX_CHUNKS = 4_000
"""Chunks of 77 columns of all different texts together: 100,000 characters of three tokens each."""

MAX_SCHEDULE_WORK = 4_000_000
"""Pieces of text put together for all steps of all schedules."""

MAX_EMPHASIS_WORK = 2_000_000
"""Multiplications of a weight for one text: runs of text times brackets around them."""

MAX_MENDED_CHARACTERS = 2_000
"""Characters between the first and the last that ftfy changes, where its changes cannot be followed one by one."""


LARGEST_NUMBER = 3.4e38
"""The largest weight that float32, in which models reckon, can hold."""


def check_weight(weight: float) -> float:
    """The weight, or PromptError where no model can reckon with it."""
    if not abs(weight) <= LARGEST_NUMBER:
        raise PromptError("the prompt has a weight that is too large; write a finite number such as 1.2")
    return weight


def check_limit(count: int, limit: int, what: str) -> None:
    """Raise PromptError when there is more of `what` than the limit allows."""
    if count > limit:
        raise PromptError(f"the prompt has {count} {what}; at most {limit} are read. Make the prompt simpler.")
