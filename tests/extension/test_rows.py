"""Rows of the WebUI's model calls, over every way in which it batches one step."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from daam.errors import ShapeError, TraceError
from daam.tracing.plan import ModelCall
from daam.webui.hosts.a1111_rows import RowCursor, StepRows
from daam.webui.hosts.rows import Row
from daam.webui.moved_rows import MovedRows


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
    cursor = RowCursor(denoiser_call((1, 1)))
    cursor.take(call(3))
    with pytest.raises(ShapeError, match="on its own"):
        cursor.take(call(2))


def test_calls_of_an_extensions_own_come_behind_the_steps_rows_and_are_of_no_text() -> None:
    cursor = RowCursor(denoiser_call((1,)))
    assert None not in cursor.take(call(2))
    assert cursor.take(call(3)) == [None, None, None]


def rows_of(parts: tuple[int, ...], texts: dict[tuple[int, int], torch.Tensor]) -> list[Row]:
    rows = RowCursor(denoiser_call(parts)).rows
    return [replace(row, context=texts[row.image, row.part] if row.side == "positive" else None) for row in rows]


def moved(same_prompt: bool) -> tuple[list[Row], torch.Tensor, torch.Tensor, list[int]]:
    """Two pictures of two parts, in the order of Regional Prompter's Latent mode: parts first, then pictures."""
    torch.manual_seed(0)
    texts = {(image, part): torch.randn(5, 3) for image in range(2) for part in range(2)}
    if same_prompt:
        texts = {(image, part): texts[0, part] for image, part in texts}
    latents = torch.randn(2, 4, 8, 9)
    order = [(0, 0), (1, 0), (0, 1), (1, 1)]
    conditioning = torch.stack([texts[place] for place in order])
    inputs = torch.stack([*(latents[image] for image, _ in order), *latents])
    return rows_of((2, 2), texts), inputs, conditioning, [0, 2, 1, 3, 4, 5]


@pytest.mark.parametrize("same_prompt", [False, True])
def test_rows_that_were_moved_are_found_by_their_latents_and_their_texts(same_prompt: bool) -> None:
    rows, latents, conditioning, expected = moved(same_prompt)
    finder = MovedRows()
    assert finder.order(rows, latents, conditioning) == expected
    assert finder.order(rows, latents + 1, conditioning) == expected
    finder.check()


def test_rows_in_the_hosts_order_stay_where_they_are_whatever_conditions_them() -> None:
    rows, latents, conditioning, _ = moved(same_prompt=True)
    host_order = [0, 2, 1, 3]
    ordered = latents[[*host_order, 4, 5]]
    assert MovedRows().order(rows, ordered, conditioning[host_order] + 0.01) == [0, 1, 2, 3, 4, 5]
    assert MovedRows().order(rows, ordered, torch.zeros(4, 7, 3)) == [0, 1, 2, 3, 4, 5]


def test_rows_that_are_moved_in_some_steps_only_are_refused() -> None:
    rows, latents, conditioning, _ = moved(same_prompt=True)
    finder = MovedRows()
    finder.order(rows, latents, conditioning)
    finder.order(rows, latents[[0, 2, 1, 3, 4, 5]], conditioning)
    with pytest.raises(TraceError, match="in some steps in another way"):
        finder.check()


def test_more_rows_of_one_picture_than_it_has_are_refused() -> None:
    rows, latents, conditioning, _ = moved(same_prompt=False)
    with pytest.raises(TraceError, match="more of one picture than it has"):
        MovedRows().order(rows, latents[[0, 0, 0, 0, 4, 5]], conditioning)
