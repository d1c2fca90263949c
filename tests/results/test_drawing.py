"""Grids as they are read: strengths in the captions, words that name nothing left out, batches and layers as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import daam.results.drawing as drawing
from daam.maps.heat_maps import HeatMaps
from daam.results.drawing import caption_of, chosen_terms, draw, left_out_of
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from tests.maps.test_numbers import SIZE, box, drawn

PICTURE = Image.new("RGB", (SIZE, SIZE), (200, 120, 40))
SMALL = DrawingSettings(image_scale=1)


def words(*names: str) -> HeatMaps:
    """Maps of so many words, each a strip of its own."""
    return drawn(**{name: box(at, at + 2, 0, 8) for at, name in enumerate(names)})


def captions(monkeypatch: pytest.MonkeyPatch, result: Result) -> list[str]:
    """What is written under the tiles."""
    said: list[str] = []
    tile = drawing.term_tile

    def written(picture: Any, heat_map: Any, caption: str, **more: Any) -> Image.Image:
        said.append(caption)
        return tile(picture, heat_map, caption, **more)

    monkeypatch.setattr(drawing, "term_tile", written)
    draw(result)
    return said


def test_captions_carry_the_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = drawn(cat=box(0, 8, 0, 8, 3.0), dog=box(0, 8, 0, 8, 1.0))
    assert captions(monkeypatch, Result([PICTURE], [maps.trace], SMALL)) == ["cat 75 %", "dog 25 %"]
    assert caption_of(maps, "unicorn", None) == "unicorn"


def test_words_that_name_nothing_are_left_out_and_counted() -> None:
    maps = words("a", "cat", "and", "dog")
    assert chosen_terms(maps, SMALL) == ["cat", "dog"] and left_out_of(maps.trace, SMALL) == ["a", "and"]
    everything = replace(SMALL, skip_function_words=False)
    assert chosen_terms(maps, everything) == ["a", "cat", "and", "dog"] and left_out_of(maps.trace, everything) == []
    named = replace(SMALL, terms="a, cat")
    assert chosen_terms(maps, named) == ["a", "cat"] and left_out_of(maps.trace, named) == []
    only = words("a", "and")
    assert chosen_terms(only, SMALL) == ["a", "and"], "a prompt of nothing else shows what it has"


def test_a_batch_with_many_words_is_a_block_for_each_picture() -> None:
    maps = words(*"bcdefghjkl")
    settings = replace(SMALL, layout="batch-rows")
    grid = draw(Result([PICTURE] * 2, [maps.trace] * 2, settings)).grid
    assert grid.width < 2 * grid.height, grid.size
    few = draw(Result([PICTURE] * 2, [words("b", "c").trace] * 2, settings)).grid
    assert few.width > 2.5 * SIZE and few.width < 4 * SIZE, "few words stay a row for each picture"


def test_layers_are_a_table_with_the_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = words("cat", "dog")
    (text,) = maps.trace.texts.values()
    layers = {"first": text.sums["layer"], "second": torch.flip(text.sums["layer"], [1])}
    more = replace(text, sums=layers, counts=dict.fromkeys(layers, 1), heads=dict.fromkeys(layers, 1))
    trace = replace(maps.trace, texts={text.text.key: more})
    tables: list[tuple[Any, Any]] = []
    real = drawing.labelled_grid

    def seen(heads: Any, rows: Any, **options: Any) -> Image.Image:
        tables.append((heads, rows))
        return real(heads, rows, **options)

    monkeypatch.setattr(drawing, "labelled_grid", seen)
    draw(Result([PICTURE], [trace], replace(SMALL, per_layer=True, terms="cat, unicorn")))
    ((heads, rows),) = tables
    assert [head.split()[0] for head in heads] == ["picture", "cat", "unicorn"] and len(rows) == 3
    assert [isinstance(row.cells[0], Image.Image) for row in rows] == [True, False, False]
    assert [isinstance(row.cells[1], Image.Image) for row in rows] == [True, True, True]
    assert "not in the prompt" in rows[0].cells[2] and [row.cells[2] for row in rows[1:]] == ["", ""]


def test_the_grid_ends_in_a_bar_of_its_colours() -> None:
    maps = words("cat")
    grid = np.asarray(draw(Result([PICTURE], [maps.trace], replace(SMALL, colormap="gray"))).grid)
    plain = draw(Result([PICTURE], [maps.trace], replace(SMALL, colormap="gray", show_captions=False))).grid
    assert plain.height < len(grid)
    colours = draw(Result([PICTURE], [maps.trace], replace(SMALL, colormap="jet"))).grid
    assert (np.asarray(colours)[-15:] != grid[-15:]).any()
