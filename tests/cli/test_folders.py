"""Folders of results are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daam.cli.folders import PARTIAL, NewFolder, write_file
from daam.errors import SettingError


def test_a_folder_has_its_name_only_when_it_is_finished(tmp_path: Path) -> None:
    with NewFolder(tmp_path / "new" / "out", "one") as folder:
        (folder.draft / "x").write_text("x")
        assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == [f"one{PARTIAL}"]
        place = folder.finish()
    assert place == tmp_path / "new" / "out" / "one" and [path.name for path in place.iterdir()] == ["x"]
    assert list((tmp_path / "new" / "out").iterdir()) == [place]


def test_nothing_is_left_of_what_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), NewFolder(tmp_path / "new" / "out", "one") as folder:
        (folder.draft / "x").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_gets_a_number_and_drafts_that_were_left_are_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x").touch()
    (tmp_path / f"one-2{PARTIAL}").mkdir()
    with NewFolder(tmp_path, "one") as folder:
        assert folder.draft.name == f"one-3{PARTIAL}"
        assert folder.finish().name == "one-2"
    assert {path.name for path in tmp_path.iterdir()} == {"one", "one-2", f"one-2{PARTIAL}"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no Linux")
@pytest.mark.parametrize("parent", ["/dev/null/x", "/proc/x", "/dev/full"])
def test_where_nothing_can_be_written_is_said_at_once(parent: str) -> None:
    with pytest.raises(SettingError, match=f"out: expected a folder that can be written to, got {parent}: [A-Z]"):
        NewFolder(Path(parent), "one").__enter__()


def test_no_room_is_said_at_once_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SettingError, match="No space left on device"):
        NewFolder(tmp_path / "new", "one").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_file(page, "first")
    with pytest.raises(UnicodeEncodeError):
        write_file(page, "half \udcff")
    assert page.read_text() == "first" and list(tmp_path.iterdir()) == [page]
    write_file(page, "second")
    assert page.read_text() == "second" and list(tmp_path.iterdir()) == [page]
