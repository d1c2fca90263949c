"""File names of terms: nothing escapes its folder, nothing overwrites, on any system."""

import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daam.errors import SettingError
from daam.results.file_names import safe_file_name, safe_file_names

WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL"} | {port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"}
TRICKY = st.text(st.sampled_from("aAß./\\ -_:\x00\n\u0301\ud800猫CONcom1\u3000"), max_size=12)
ANY_TERM = (
    TRICKY | st.text(st.characters(), max_size=300) | st.sampled_from(["con", "NUL.txt", "..", "COM¹", "a" * 300])
)


@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("cat", "cat.png"),
        ("a cute cat", "a cute cat.png"),
        ("猫", "猫.png"),
        ("кошка", "кошка.png"),
        ("café", "café.png"),
        ("cafe\u0301", "café.png"),
        ("cafe\u200d\u0301", "café.png"),
        ("😀", "😀.png"),
        ("../../x", "x.png"),
        ("/etc/passwd", "etc_passwd.png"),
        ("C:\\x", "C_x.png"),
        ("a/b", "a_b.png"),
        ("a\x00b\nc", "a_b_c.png"),
        ("a\ud800b", "a_b.png"),
        ("a\u202eb", "ab.png"),
        ("a\u3000b", "a b.png"),
        (".hidden", "hidden.png"),
        ("-rf", "rf.png"),
        ("end. .", "end.png"),
        ("CON", "_CON.png"),
        ("con", "_con.png"),
        ("Lpt1", "_Lpt1.png"),
        ("COM\u00b9", "_COM\u00b9.png"),
        ("nul.tar", "_nul.tar.png"),
        ("AUX .x", "_AUX .x.png"),
        ("console", "console.png"),
        ("", "term.png"),
        ("...", "term.png"),
        ("///", "term.png"),
        (" \t ", "term.png"),
    ],
)
def test_a_term_has_the_name_one_would_expect(term: str, name: str) -> None:
    assert safe_file_name(term) == name


def test_a_long_term_is_cut_but_keeps_its_suffix() -> None:
    assert safe_file_name("x" * 300) == "x" * 76 + ".png"
    assert safe_file_name("猫" * 300) == "猫" * 65 + ".png"
    assert safe_file_name("😀" * 300) == "😀" * 49 + ".png"


def test_a_cut_does_not_end_in_a_blank_or_dot() -> None:
    assert safe_file_name("x" * 75 + " y", suffix="") == "x" * 75 + " y"
    assert safe_file_name("x" * 79 + " y", suffix="") == "x" * 79


def test_terms_that_share_a_name_are_numbered() -> None:
    assert safe_file_names(["a/b", "a:b", "a_b"]) == ["a_b.png", "a_b-2.png", "a_b-3.png"]


def test_terms_that_differ_in_capitals_only_are_numbered() -> None:
    assert safe_file_names(["Cat", "cat", "CAT"]) == ["Cat.png", "cat-2.png", "CAT-3.png"]
    assert safe_file_names(["straße", "STRASSE"]) == ["straße.png", "STRASSE-2.png"]


def test_a_number_does_not_hit_a_term_that_has_it_already() -> None:
    assert safe_file_names(["a", "a-2", "a"]) == ["a.png", "a-2.png", "a-3.png"]
    assert safe_file_names(["a", "a", "a-2"]) == ["a.png", "a-2.png", "a-2-2.png"]


def test_long_terms_with_the_same_beginning_stay_apart_within_the_limit() -> None:
    names = safe_file_names(["x" * 300 + str(n) for n in range(12)])
    assert len(set(names)) == 12 and max(map(len, names)) == 80


def test_reserved_names_are_not_given() -> None:
    assert safe_file_names(["grid", "GRID"], reserved=["Grid.png"]) == ["grid-2.png", "GRID-3.png"]


def test_another_suffix_is_put_on_every_name() -> None:
    assert safe_file_names(["a", "a"], suffix="_mask.webp") == ["a_mask.webp", "a-2_mask.webp"]


@pytest.mark.parametrize("suffix", ["/x", ".png/..", "\x00", "." * 3, ".猫", "x" * 30, ".png\n"])
def test_an_unsafe_suffix_is_refused(suffix: str) -> None:
    with pytest.raises(SettingError, match="suffix"):
        safe_file_name("a", suffix=suffix)


@given(st.lists(ANY_TERM, max_size=8), st.sampled_from([".png", "_mask.png", ""]))
def test_any_terms_have_safe_and_distinct_names(terms: list[str], suffix: str) -> None:
    names = safe_file_names(terms, suffix=suffix, reserved=["grid.png"])
    assert names == safe_file_names(terms, suffix=suffix, reserved=["grid.png"])
    assert len(names) == len(terms)
    for fold in (str.casefold, str.upper, str.lower):
        assert len({fold(unicodedata.normalize("NFD", name)) for name in [*names, "grid.png"]}) == len(terms) + 1
    for name in names:
        assert name.endswith(suffix) and 0 < len(name) <= 80 and len(name.encode()) <= 200
        assert name == unicodedata.normalize("NFC", name)
        assert name[0] not in ".- " and name[-1] not in ". "
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Cf") or c in '<>:"/\\|?*' for c in name)
        assert PureWindowsPath(name).parts == (name,)
        assert name.split(".")[0].rstrip().upper() not in WINDOWS_DEVICES


@given(st.lists(ANY_TERM, min_size=1, max_size=8))
def test_files_of_these_names_lie_in_their_folder(terms: list[str]) -> None:
    folder = Path("/some/folder")
    for name in safe_file_names(terms):
        assert (folder / name).resolve().parent == folder


def test_the_names_can_be_written(tmp_path: Path) -> None:
    names = safe_file_names(["../../x", "a/b", "CON", "x" * 300, "猫" * 300, "\ud800", "", "X"])
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_thousand_equal_terms_are_named_quickly() -> None:
    assert safe_file_names(["cat"] * 1000)[-1] == "cat-1000.png"
