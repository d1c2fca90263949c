"""Numbers of emphasis: read, round, write. Plain arithmetic, the same in Python and JavaScript."""

from __future__ import annotations

import math

from daam.errors import PromptError, SettingError

LARGEST_WEIGHT = 1000
LARGEST_NUMBER = 1_000_000
_NEAR_ENOUGH = 0.0045
_DECIMALS = (2, 3, 4, 5, 6)


def checked_weight(weight: float, name: str = "weight") -> float:
    """The weight as a float.

    Raises:
        SettingError: it is no finite number, or beyond 1000.
    """
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
        raise SettingError(f"{name}: expected a number such as 1.2, got {weight!r}")
    if abs(weight) > LARGEST_WEIGHT:
        raise SettingError(f"{name}: expected a number from -{LARGEST_WEIGHT} to {LARGEST_WEIGHT}, got {weight}")
    return float(weight)


def rounded(value: float) -> float:
    """The nearest hundredth; halves go up."""
    return math.floor(value * 100 + 0.5) / 100


def number_for(weight: float, outer: float) -> str:
    """What to write into a bracket that stands in others, so that all together give the weight.

    It has two decimals, and more only where these miss the weight by 0.0045, so that steps of 0.1 never drift.

    Args:
        outer: product of the brackets around it.

    Raises:
        PromptError: the brackets around it have weight 0, or so little that no sensible number reaches the weight.
    """
    if abs(outer) * LARGEST_NUMBER < abs(weight) or outer == 0:
        if weight == 0:
            return "1"
        raise PromptError(
            f"the brackets around this word have weight {outer:g}, so no weight of its own can make it "
            f"{weight:g}; change the brackets around it first"
        )
    for decimals in _DECIMALS:
        units = math.floor(weight / outer * 10**decimals + 0.5)
        if abs(units / 10**decimals * outer - weight) < _NEAR_ENOUGH:
            return _written(units, decimals)
    raise PromptError(
        f"the brackets around this word have weight {outer:g}; no number of 6 decimals makes it {weight:g}"
    )


def _written(units: int, decimals: int) -> str:
    """`units` of 10 ** -decimals as a decimal number without zeros at its end."""
    digits = str(abs(units)).rjust(decimals + 1, "0")
    number = f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")
    return f"-{number}" if units < 0 else number
