"""Captions: what is written, where it wraps, and that no string breaks them."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from daam.errors import ShapeError
from daam.pictures.caption_text import Glyph, read_glyphs, wrap
from daam.pictures.captions import STRIP_COLOUR, add_caption

UNASSIGNED = "\U000e0fff"
ANY_TEXT = st.text(st.characters(), max_size=60) | st.text(
    st.sampled_from("a \n\x00\ud800\u202e\u200d\u0301\ufe0fא猫😀")
)


def words(lines: list[list[Glyph]]) -> list[str]:
    return ["".join(glyph.text for glyph in line) for line in lines]


def wrapped(text: str, width: int, max_lines: int = 9) -> list[str]:
    """As if every glyph were one wide."""
    return words(wrap(read_glyphs(text), width, max_lines, lambda glyph: 1))


def strip_of(text: str, width: int = 256, note: str | None = None) -> Image.Image:
    captioned = add_caption(Image.new("RGB", (width, 8)), text, note=note)
    return captioned.crop((0, 8, width, captioned.height))


@pytest.mark.parametrize("colour", ["black", "white", "red"])
def test_the_picture_is_kept_and_the_strip_is_the_same_under_any(colour: str) -> None:
    picture = Image.new("RGB", (256, 32), colour)
    captioned = add_caption(picture, "cat")
    assert captioned.width == 256 and captioned.crop((0, 0, 256, 32)).tobytes() == picture.tobytes()
    assert captioned.crop((0, 32, *captioned.size)).tobytes() == strip_of("cat").tobytes()


def test_letters_are_light_on_the_dark_strip() -> None:
    brightness = np.asarray(strip_of("cat").convert("L"))
    assert brightness.max() > 230 and np.median(brightness) == round(np.dot(STRIP_COLOUR, [0.299, 0.587, 0.114]))


@pytest.mark.parametrize("text", ["猫", "😀", "🚀", "\x00", "\x1b", "\ud83d", "\u202e", "\u200b", "\ufeff", UNASSIGNED])
def test_every_character_leaves_ink_whether_a_font_has_it_or_not(text: str) -> None:
    assert strip_of(text).tobytes() != strip_of("").tobytes()


def test_two_characters_without_a_font_look_different() -> None:
    assert read_glyphs(UNASSIGNED) == [Glyph(UNASSIGNED, None)]
    assert strip_of(UNASSIGNED).tobytes() != strip_of("\U000e0ffe").tobytes()


def test_letters_grow_with_the_picture() -> None:
    narrow, wide = strip_of("cat", 512), strip_of("cat", 1024)
    assert wide.height == pytest.approx(2 * narrow.height, abs=3)


def test_a_note_is_written_smaller_and_darker_under_the_text() -> None:
    with_note = strip_of("cat", note="no map")
    without = strip_of("cat")
    added = with_note.height - without.height
    assert 0 < added < without.height
    note_rows = np.asarray(with_note.convert("L"))[without.height - 8 :]
    assert 120 < note_rows.max() < 200


@pytest.mark.parametrize("text", ["x" * 300, "猫" * 300, "word " * 300, "\x00" * 300, "a\u0301" * 3000])
def test_a_long_text_is_cut_after_four_lines(text: str) -> None:
    assert strip_of(text).height == strip_of("a-" * 1000).height
    one, two = strip_of("a").height, strip_of("x" * 25 + "\u2028" + "x" * 25).height
    assert strip_of(text).height == one + 3 * (two - one)


def test_no_ink_reaches_the_right_margin_of_a_full_line() -> None:
    strip = np.asarray(strip_of("Wide Words Wrapped " * 9, 512))
    assert (strip[:, -6:] == STRIP_COLOUR).all()


def test_the_array_of_a_picture_is_captioned_too() -> None:
    assert add_caption(np.zeros((8, 64, 3), np.uint8), "cat").width == 64


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(ShapeError):
        add_caption(Image.new("RGB", (0, 0)), "cat")


@settings(max_examples=60, deadline=None)
@given(text=ANY_TEXT, note=st.none() | ANY_TEXT, width=st.sampled_from([1, 9, 64, 300]))
def test_any_string_at_all_makes_a_caption(text: str, note: str | None, width: int) -> None:
    captioned = add_caption(Image.new("RGB", (width, 2)), text, note=note)
    assert captioned.width == width and captioned.height > 2


def test_lines_break_at_blanks() -> None:
    assert wrapped("the quick brown fox", 10) == ["the quick", "brown fox"]


def test_a_line_that_fits_exactly_is_left_alone() -> None:
    assert wrapped("ab cd", 5) == ["ab cd"]


def test_a_word_longer_than_a_line_is_cut() -> None:
    assert wrapped("abcdefgh", 3) == ["abc", "def", "gh"]


def test_chinese_breaks_between_any_two_characters() -> None:
    assert wrapped("一二三四五", 2) == ["一二", "三四", "五"]
    assert wrapped("ab 一二三cd", 4) == ["ab 一", "二三cd"]


def test_a_word_breaks_after_a_hyphen_or_comma_first() -> None:
    assert wrapped("one-two,three", 6) == ["one-", "two,", "three"]


def test_what_does_not_fit_the_lines_ends_in_an_ellipsis() -> None:
    assert wrapped("aa bb cc dd", 5, max_lines=1) == ["aa b…"]
    assert wrapped("aaaaaaaaa", 3, max_lines=2) == ["aaa", "aa…"]


def test_a_line_narrower_than_a_letter_still_takes_one() -> None:
    assert words(wrap(read_glyphs("abc"), 0.5, 9, lambda glyph: 1)) == ["a", "b", "c"]


def test_blanks_and_line_ends_become_one_blank() -> None:
    assert wrapped("  a \n\t b\r\n\u3000c\u2028", 80) == ["a b c"]


def test_accents_stay_with_their_letter() -> None:
    assert [glyph.text for glyph in read_glyphs("e\u0301a")] == ["e\u0301", "a"]


def test_an_accent_without_a_letter_stands_on_a_dotted_circle() -> None:
    assert [glyph.text for glyph in read_glyphs("\u0301")] == ["\u25cc\u0301"]


@settings(max_examples=200, deadline=None)
@given(text=ANY_TEXT, width=st.integers(1, 20), max_lines=st.integers(1, 5))
def test_wrapping_loses_nothing_but_blanks_unless_it_says_so(text: str, width: int, max_lines: int) -> None:
    glyphs = read_glyphs(text)
    lines = wrap(glyphs, width, max_lines, lambda glyph: 1)
    assert len(lines) <= max_lines and all(0 < len(line) <= width for line in lines)
    kept = [glyph for line in lines for glyph in line if not glyph.is_blank]
    wanted = [glyph for glyph in glyphs if not glyph.is_blank]
    assert kept == wanted or (kept[-1].text == "…" and kept[:-1] == wanted[: len(kept) - 1])


@given(ANY_TEXT)
def test_no_character_is_dropped_but_joiners_and_style_selectors(text: str) -> None:
    read = "".join(glyph.text for glyph in read_glyphs(text)).replace("\u25cc", "")
    silent = {"\u200c", "\u200d"}
    wanted = [c for c in text if not c.isspace() and c not in silent and "VARIATION SEL" not in unicodedata.name(c, "")]
    assert [c for c in read if c != " " and c not in silent] == [c for c in wanted if c != "\u25cc"]
