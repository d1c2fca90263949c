"""Rows of Forge's model calls: groups that the call itself names, in the order that its sampler makes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from daam.errors import ShapeError
from daam.tracing.plan import ModelCall
from daam.webui.hosts.forge_rows import GroupedRows, Lengths
from daam.webui.hosts.rows import Row

SIZE = (8, 9)


def call(groups: list[int] | None, rows: int, columns: int = 77, size: tuple[int, int] = SIZE) -> ModelCall:
    named: dict[str, Any] = {} if groups is None else {"transformer_options": {"cond_or_uncond": groups}}
    return ModelCall(rows, *size, torch.zeros(rows, columns, 4), named=named)


def rows_of(
    parts: tuple[int, ...], positive: int = 77, negative: int | None = 77, contexts: tuple[torch.Tensor, ...] = ()
) -> GroupedRows:
    return GroupedRows(parts, SIZE, lambda: Lengths(positive, negative), contexts)


def positive(part: int, images: int = 2, repeats: int = 1) -> list[Row]:
    return [Row(image, "positive", part, repeats=repeats) for image in range(images)]


def negative(images: int = 2, repeats: int = 1) -> list[Row]:
    return [Row(image, "negative", repeats=repeats) for image in range(images)]


def test_in_one_call_the_negative_group_comes_first_then_the_last_part() -> None:
    taken = rows_of((2, 2)).take(call([1, 0, 0], 6))
    assert taken == [*negative(), *positive(1), *positive(0)]


def test_rows_say_themselves_in_which_order_they_come() -> None:
    order = rows_of((2, 2))
    assert order.rows == [*negative(), *positive(1), *positive(0)]


@pytest.mark.parametrize("cut", [[[0, 0], [1]], [[1], [0], [0]], [[1, 0], [0]], [[0], [0, 1]], [[0], [1], [0]]])
def test_however_memory_cuts_a_step_the_parts_come_from_the_end(cut: list[list[int]]) -> None:
    order = rows_of((2, 2))
    left = [positive(0), positive(1)]
    for groups in cut:
        expected = [row for group in groups for row in (negative() if group else left.pop())]
        assert order.take(call(groups, 2 * len(groups))) == expected


def test_without_guidance_there_are_only_positive_rows() -> None:
    assert rows_of((1, 1), negative=None).take(call([0], 2)) == positive(0)


def test_a_part_that_only_one_image_has_is_left_out_as_by_the_host() -> None:
    contexts = tuple(torch.full((77, 4), float(number)) for number in range(5))
    taken = rows_of((2, 1), contexts=contexts).take(call([1, 0], 4))
    assert taken == [*negative(), *positive(0)]
    assert [int(row.context[0, 0]) for row in taken if row and row.context is not None] == [3, 4, 0, 2]


def test_a_text_that_was_repeated_to_the_length_of_another_says_how_often() -> None:
    taken = rows_of((1, 1), positive=77, negative=154).take(call([1, 0], 4, columns=154))
    assert taken == [*negative(), *positive(0, repeats=2)]
    taken = rows_of((1, 1), positive=231, negative=154).take(call([1, 0], 4, columns=462))
    assert taken == [*negative(repeats=3), *positive(0, repeats=2)]


def test_a_length_that_another_extension_gave_is_the_one_that_counts() -> None:
    lengths = [Lengths(77, 77)]
    order = GroupedRows((1,), SIZE, lambda: lengths[-1])
    lengths.append(Lengths(154, 77))
    assert order.take(call([1, 0], 2, columns=154)) == [*negative(1, repeats=2), *positive(0, images=1)]


@pytest.mark.parametrize("groups", [None, [], [2], [0]], ids=["unmarked", "empty", "another's group", "had already"])
def test_other_calls_are_an_extensions_own(groups: list[int] | None) -> None:
    order = rows_of((1, 1))
    if groups == [0]:
        order.take(call([1, 0], 4))
    assert order.take(call(groups, 2)) == [None, None]


def test_a_group_of_another_extension_in_a_call_of_ours_has_no_rows() -> None:
    assert rows_of((1, 1)).take(call([1, 0, 2], 6)) == [*negative(), *positive(0), None, None]


def test_tiles_and_other_batches_are_refused_with_what_came() -> None:
    with pytest.raises(ShapeError, match="expected a latent of 8x9, the model got 4x4"):
        rows_of((1, 1)).take(call([1, 0], 4, size=(4, 4)))
    with pytest.raises(ShapeError, match="expected 2 rows for each of 2 pictures, the model got 5 rows"):
        rows_of((1, 1)).take(call([1, 0], 5))
