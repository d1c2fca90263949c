"""Rows of the WebUI's model calls, over every way in which it batches one step."""

from __future__ import annotations

import itertools

import pytest

from daam.errors import ShapeError
from daam.tracing.plan import ModelCall
from daam.webui.hosts.a1111_rows import RowCursor, StepRows
from daam.webui.hosts.rows import Row


def denoiser_call(parts: tuple[int, ...], rows: int | None = None, positive: int | None = None) -> StepRows:
    total = sum(parts)
    return StepRows(
        parts=parts,
        positive_rows=total if positive is None else positive,
        rows=total + len(parts) if rows is None else rows,
        height=8,
        width=9,
    )


def call(rows: int, height: int = 8, width: int = 9) -> ModelCall:
    return ModelCall(rows, height, width)


def test_rows_are_all_parts_of_all_images_then_one_negative_for_each() -> None:
    rows = RowCursor(denoiser_call((2, 1))).take(call(5))
    assert rows == [
        Row(0, "positive", 0),
        Row(0, "positive", 1),
        Row(1, "positive", 0),
        Row(0, "negative"),
        Row(1, "negative"),
    ]


@pytest.mark.parametrize(
    "sizes", [s for n in (1, 2, 3, 5) for s in itertools.product((1, 2, 3), repeat=n) if sum(s) == 5]
)
def test_however_a_step_is_cut_into_calls_the_rows_are_the_same(sizes: tuple[int, ...]) -> None:
    cursor = RowCursor(denoiser_call((2, 1)))
    taken = [row for size in sizes for row in cursor.take(call(size))]
    assert taken == RowCursor(denoiser_call((2, 1))).take(call(5))


def test_instruct_pix2pix_has_two_negative_rows_for_each_image() -> None:
    rows = RowCursor(denoiser_call((1, 1), rows=6)).take(call(6))
    assert [row.image for row in rows] == [0, 1, 0, 1, 0, 1]
    assert [row.side for row in rows] == ["positive"] * 2 + ["negative"] * 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (denoiser_call((1, 1), positive=3), "expected 2 rows"),
        (denoiser_call((1, 1), rows=5), "multiple of 2"),
        (denoiser_call((), rows=0), "multiple of 0"),
    ],
)
def test_rows_that_do_not_fit_the_prompts_are_an_error(wrong: StepRows, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        RowCursor(wrong)


def test_tiles_and_foreign_calls_are_an_error() -> None:
    with pytest.raises(ShapeError, match="tiles"):
        RowCursor(denoiser_call((1,))).take(call(2, height=4))
    cursor = RowCursor(denoiser_call((1,)))
    cursor.take(call(2))
    with pytest.raises(ShapeError, match="on its own"):
        cursor.take(call(1))
