"""How far off a mean may be. Knows only numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 1000


def interval(values: Sequence[ArrayLike], share: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The percentile bootstrap (Efron, 1979) of the mean over the first axis.

    Args:
        values: one number, or one row of numbers, for each thing that was measured.

    Returns:
        Lower and upper end, shaped as one of the values; NaN where there are none.
    """
    table = np.asarray(values, np.float64)
    if not len(table):
        return np.array(np.nan), np.array(np.nan)
    chosen = np.random.default_rng(0).integers(0, len(table), (RESAMPLES, len(table)))
    means = np.stack([table[rows].mean(axis=0) for rows in chosen])
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2], axis=0)
    return np.asarray(low), np.asarray(high)
