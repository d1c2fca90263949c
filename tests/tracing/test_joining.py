"""Joining the maps that several models made of one text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from daam.tracing.accumulator import Accumulator
from daam.tracing.block import Block, Legend, Share
from daam.tracing.joining import join_texts
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.text_maps import TextMaps

KEY = TextKey(0, "positive")


def maps(layer: str, value: float, size: int) -> dict[TextKey, TextMaps]:
    found = TextMaps(TracedText(KEY, (1,)))
    found.sums[layer] = torch.full((1, size, size), value)
    found.counts[layer], found.heads[layer] = 2, 4
    return {KEY: found}


def legend(size: int, heads: int = 1) -> Legend:
    return Legend((Share(TracedText(KEY, (1,), (1,)), 0, (0,), (0,)),), (size, size), heads)


def block(of: Legend, layers: tuple[str, ...] = ("a",)) -> Block:
    """One in every place."""
    positions = of.size[0] * of.size[1]
    sums = torch.ones(len(layers), 1, positions, 1)
    return Block(of, layers, sums, torch.ones(len(layers), 1, of.heads, positions, 1))


def test_layers_of_one_size_are_added_and_others_kept_apart() -> None:
    first, second, third = maps("a", 1, 2), maps("a", 2, 2), maps("a", 3, 4)
    joined = join_texts([first, second, third])[KEY]
    assert set(joined.sums) == {"a", "a@4x4"}
    assert torch.equal(joined.sums["a"], torch.full((1, 2, 2), 3.0))
    assert joined.counts == {"a": 4, "a@4x4": 2}
    assert torch.equal(first[KEY].sums["a"], torch.ones(1, 2, 2)), "what was given stays as it was"


def test_a_text_of_one_model_alone_is_taken_as_it_is() -> None:
    other = TextKey(0, "negative")
    second = {other: maps("b", 1, 2)[KEY]}
    assert set(join_texts([maps("a", 1, 2), second])) == {KEY, other}


def test_a_layer_whose_size_changes_on_the_way_is_kept_for_each_size() -> None:
    accumulator = Accumulator(keep_steps=True)
    legends = {size: legend(size) for size in (2, 4)}
    for step, size in enumerate((2, 4, 2)):
        accumulator.add([block(legends[size])], ("a",), step=step, call=step)
    kept = accumulator.on_cpu(0)[KEY]
    assert {name: tuple(maps.shape) for name, maps in kept.sums.items()} == {"a": (1, 2, 2), "a@4x4": (1, 4, 4)}
    assert kept.counts == {"a": 2, "a@4x4": 1} and kept.steps == [0, 1, 2]
    assert {name: list(steps) for name, steps in kept.details.items()} == {"a": [0, 2], "a@4x4": [1]}


def test_steps_of_two_models_are_joined_and_those_of_both_added() -> None:
    def traced(steps: Sequence[int], heads: int = 1) -> dict[TextKey, TextMaps]:
        accumulator, of_all = Accumulator(keep_steps=True), legend(2, heads)
        for step in steps:
            accumulator.add([block(of_all)], ("a",), step=step, call=step)
        return accumulator.on_cpu(0)

    joined = join_texts([traced([0, 1]), traced([1, 2])])[KEY].details["a"]
    assert {step: float(maps.mean()) for step, maps in joined.items()} == {0: 1.0, 1: 2.0, 2: 1.0}
    other_heads = join_texts([traced([0, 1]), traced([1, 2], heads=2)])[KEY].details["a"]
    assert set(other_heads) == {0, 2}
