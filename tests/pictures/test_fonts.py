"""Which font is found, checked against fontTools and against a font made here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from matplotlib.font_manager import fontManager

from daam.pictures import fonts

SQUARE, EMPTY = "\U0001b170", "\U0001b171"  # Nüshu, which the fonts of few machines have
UNASSIGNED = "\U000e0fff"


def build_font(path: Path) -> None:
    pen = TTGlyphPen(None)
    for place, point in enumerate([(100, 0), (100, 800), (900, 800), (900, 0)]):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    empty = TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square", "empty"])
    builder.setupCharacterMap({ord(SQUARE): "square", ord(EMPTY): "empty"})
    builder.setupGlyf({".notdef": empty, "square": pen.glyph(), "empty": empty})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "square", "empty"), (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Noto Sans CJK Made Here", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def made_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A system font with two rare characters, one of which has no ink."""
    path = tmp_path / "made.ttf"
    build_font(path)
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(str(path))
    _forget()
    yield str(path)
    _forget()


def _forget() -> None:
    fonts.font_path_for.cache_clear()
    fonts._system_font_paths.cache_clear()


def test_the_base_font_has_what_fonttools_says_it_has() -> None:
    listed = TTFont(fonts.base_font_path(), lazy=True).getBestCmap()
    for code in [*range(0x20, 0x500), 0x732B, 0x1F600, 0x1F680]:
        assert fonts.has_character(fonts.base_font_path(), chr(code)) == (code in listed)


def test_latin_and_cyrillic_come_from_the_base_font() -> None:
    assert {fonts.font_path_for(character) for character in "aÉжΩ"} == {fonts.base_font_path()}


def test_a_character_that_only_a_system_font_has_comes_from_there(made_font: str) -> None:
    assert fonts.font_path_for(SQUARE) == made_font


def test_a_font_that_lists_a_character_but_draws_nothing_is_passed_over(made_font: str) -> None:
    assert fonts.has_character(made_font, EMPTY)
    assert fonts.font_path_for(EMPTY) != made_font


def test_a_character_without_any_font_has_none() -> None:
    assert fonts.font_path_for(UNASSIGNED) is None
    assert fonts.font_path_for("\ud800") is None


def test_a_file_that_is_no_font_has_no_characters(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font at all")
    assert not fonts.has_character(str(broken), "a")
