"""Heat maps are a mapping: what they iterate over is in them."""

from __future__ import annotations

import pytest

import daam
from daam.errors import TermError
from tests.pipelines import run, sd1


def test_what_is_iterated_over_is_there_also_where_steps_were_kept_for_one_term() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, keep="steps", terms="circle") as tracer:
        run(pipeline, "a red circle")
    whole, first = tracer.heat_maps(), tracer.heat_maps().select(steps=(0, 0))
    assert list(dict(first)) == ["circle"] == list(first) and len(first) == 1 and "red" not in first
    assert list(whole) == list(dict(whole)) == ["a", "red", "circle"]
    assert first.words == whole.words == ("a", "red", "circle")
    with pytest.raises(TermError, match="it has: a, red, circle"):
        first["unicorn"]
    assert list(daam.rank_words(first, (0, 0, 8, 8))) == ["circle"]
