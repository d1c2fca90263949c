"""Joining the maps that several models made of one text."""

from __future__ import annotations

import torch

from daam.tracing.accumulator import TextMaps
from daam.tracing.joining import join_texts
from daam.tracing.plan import TextKey, TracedText

KEY = TextKey(0, "positive")


def maps(layer: str, value: float, size: int) -> dict[TextKey, TextMaps]:
    found = TextMaps(TracedText(KEY, (1,)))
    found.sums[layer] = torch.full((1, size, size), value)
    found.counts[layer], found.heads[layer] = 2, 4
    return {KEY: found}


def test_layers_of_one_size_are_added_and_others_kept_apart() -> None:
    first, second, third = maps("a", 1, 2), maps("a", 2, 2), maps("a", 3, 4)
    joined = join_texts([first, second, third])[KEY]
    assert set(joined.sums) == {"a", "a@3"}
    assert torch.equal(joined.sums["a"], torch.full((1, 2, 2), 3.0))
    assert joined.counts == {"a": 4, "a@3": 2}
    assert torch.equal(first[KEY].sums["a"], torch.ones(1, 2, 2)), "what was given stays as it was"


def test_a_text_of_one_model_alone_is_taken_as_it_is() -> None:
    other = TextKey(0, "negative")
    second = {other: maps("b", 1, 2)[KEY]}
    assert set(join_texts([maps("a", 1, 2), second])) == {KEY, other}
