"""Means and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from daam.studies.numbers.estimates import mean_over

stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")


def test_the_interval_of_single_samples_is_scipys() -> None:
    values = np.random.default_rng(1).gamma(1.0, 1.0, 40)
    found = mean_over(values, range(40))
    samples = np.random.default_rng(1)  # without a seed its upper end is too far off in two runs of a hundred
    expected = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20000, random_state=samples
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(expected.low, abs=0.02) and found.high == pytest.approx(expected.high, abs=0.03)


def test_samples_of_one_caption_count_together() -> None:
    """Ten equal samples of each caption say no more than one of each."""
    values = np.random.default_rng(2).normal(size=30)
    once, often = mean_over(values, range(30)), mean_over(np.repeat(values, 10), np.repeat(np.arange(30), 10))
    assert (often.n, often.captions) == (300, 30)
    assert often.low == pytest.approx(once.low) and often.high == pytest.approx(once.high)


def test_it_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = [(found := mean_over(rng.normal(size=40), range(40))).low < 0 < found.high for _ in range(120)]  # type: ignore[operator]
    assert 0.88 <= np.mean(hits) <= 0.99


def test_where_there_is_no_interval_it_says_why() -> None:
    few = mean_over([1.0, 2.0], ["a", "b"])
    assert few.value == 1.5 and few.low is None and few.why_no_interval == "no interval below 10 captions"
    equal = mean_over([1.0] * 20, range(20))
    assert equal.low is None and equal.why_no_interval == "no interval: the captions do not differ"
    none = mean_over([math.nan], ["a"])
    assert none.n == 0 and none.to_data()["value"] is None and none.text() == "–, n = 0"


def test_what_is_not_known_is_left_out() -> None:
    assert mean_over([1.0, math.nan, 3.0], ["a", "b", "c"]).value == 2.0
