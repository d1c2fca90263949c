"""Means with 95 % intervals: a bootstrap over captions, since what comes of one caption is not independent."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daam.extras import need

SHARE = 0.95
RESAMPLES = 5000
LEAST_CAPTIONS = 10
"""Fewer say nothing of the captions that were not drawn."""
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean over samples.

    Attributes:
        value: NaN where there is no sample.
        low, high: of the interval; None where there is none.
        n: samples.
        captions: that the samples come from.
        why_no_interval: in a few words; None where there is one.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    captions: int
    why_no_interval: str | None = None

    def text(self, scale: float = 1.0, digits: int = 3) -> str:
        """As in `0.632 (0.601 to 0.661), n = 300`."""
        if not self.n:
            return "–, n = 0"
        number = f"{scale * self.value:.{digits}f}"
        if self.low is None or self.high is None:
            return f"{number}, n = {self.n}"
        return f"{number} ({scale * self.low:.{digits}f} to {scale * self.high:.{digits}f}), n = {self.n}"

    def to_data(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        return {**asdict(self), "value": self.value if math.isfinite(self.value) else None}


def mean_over(values: Sequence[float] | NDArray[Any], captions: Sequence[Any]) -> Estimate:
    """The mean of all values, with the interval of a BCa bootstrap (Efron, 1987) that draws whole captions.

    Args:
        values: one for each sample; NaN is left out.
        captions: which caption each sample comes from.
    """
    numbers = np.asarray(values, np.float64)
    names = np.asarray([str(caption) for caption in captions])
    is_known = np.isfinite(numbers)
    numbers, names = numbers[is_known], names[is_known]
    if not len(numbers):
        return Estimate(math.nan, None, None, 0, 0, "no sample")
    _, places = np.unique(names, return_inverse=True)
    counts = np.bincount(places).astype(np.float64)
    sums = np.bincount(places, weights=numbers)
    value, size = float(numbers.mean()), len(counts)
    if size < LEAST_CAPTIONS:
        return Estimate(value, None, None, len(numbers), size, f"no interval below {LEAST_CAPTIONS} captions")
    low, high = _interval(sums, counts, _ratio, paired=True)
    if not math.isfinite(low) or not math.isfinite(high):
        return Estimate(value, None, None, len(numbers), size, "no interval: the captions do not differ")
    return Estimate(value, low, high, len(numbers), size)


def difference_of(first: Sequence[float] | NDArray[Any], second: Sequence[float] | NDArray[Any]) -> Estimate:
    """The first group's mean less the second's, with a BCa interval; each value comes of a caption of its own.

    Args:
        first, second: NaN is left out.
    """
    one, other = (np.asarray(values, np.float64) for values in (first, second))
    one, other = one[np.isfinite(one)], other[np.isfinite(other)]
    count = len(one) + len(other)
    if not len(one) or not len(other):
        return Estimate(math.nan, None, None, 0, 0, "no sample")
    value = float(one.mean() - other.mean())
    if min(len(one), len(other)) < LEAST_CAPTIONS:
        return Estimate(value, None, None, count, count, f"no interval below {LEAST_CAPTIONS} captions")
    low, high = _interval(one, other, _difference, paired=False)
    if not math.isfinite(low) or not math.isfinite(high):
        return Estimate(value, None, None, count, count, "no interval: the captions do not differ")
    return Estimate(value, low, high, count, count)


def _difference(some: NDArray[Any], others: NDArray[Any], axis: int = -1) -> Any:
    return some.mean(axis=axis) - others.mean(axis=axis)


def _ratio(sums: NDArray[Any], counts: NDArray[Any], axis: int = -1) -> Any:
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def _interval(
    first: NDArray[Any], second: NDArray[Any], statistic: Callable[..., Any], *, paired: bool
) -> tuple[float, float]:
    numbers = len(first) if paired else len(first) + len(second)
    stats = need("scipy.stats", "an interval")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all captions are equal, which NaN says
        found = stats.bootstrap(
            (first, second),
            statistic,
            paired=paired,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=SHARE,
            method="BCa",
            batch=max(1, _NUMBERS_AT_ONCE // numbers),
            random_state=np.random.default_rng(0),
        ).confidence_interval
    return float(found.low), float(found.high)
