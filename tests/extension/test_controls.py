"""The table of settings: every entry is read, checked, written to the infotext and read back."""

from __future__ import annotations

from typing import Any

import pytest

from daam.errors import SettingError, TermError
from daam.results.declaring import Setting
from daam.results.drawing_settings import DrawingSettings
from daam.results.settings import SETTINGS, TITLE, Settings, value_from_infotext

OTHER: dict[str, Any] = {"checkbox": lambda c: not c.default, "choice": lambda c: c.choices[-1],
                         "slider": lambda c: c.maximum, "text": lambda c: "cat"}  # fmt: skip


def other_value(setting: Setting) -> Any:
    """A value that is not the default."""
    return OTHER[setting.kind](setting)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_goes_through_the_infotext(setting: Setting) -> None:
    values = {"enabled": True, setting.name: other_value(setting)}
    settings = Settings.read([values.get(each.name) for each in SETTINGS])
    assert getattr(settings, setting.name) == other_value(setting)
    infotext = settings.infotext()
    assert set(infotext) == {TITLE, setting.infotext}, "defaults are left out"
    for each in SETTINGS:
        assert value_from_infotext(each, infotext) == getattr(settings, each.name)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_a_label_a_tooltip_and_a_place_of_its_own(setting: Setting) -> None:
    assert setting.label and setting.help and setting.infotext
    assert sum(each.infotext == setting.infotext for each in SETTINGS) == 1


def test_missing_arguments_are_the_defaults() -> None:
    assert Settings.read([True]) == Settings.read([True, *(setting.default for setting in SETTINGS[1:])])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alpha", 1.5, "expected 0 to 1, got 1.5"),
        ("alpha", "much", "expected a number, got 'much'"),
        ("colormap", "turbot", "Colormap: expected one of"),
        ("use_grid", [], "expected true or false"),
        ("terms", 7, "expected text, got 7"),
    ],
)
def test_bad_values_say_what_was_expected(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings.read([True], {name: value})


def test_bad_terms_are_an_error_at_once() -> None:
    with pytest.raises(TermError, match="count from 1"):
        Settings.read([True, "cat#0"])


def test_an_infotext_without_heat_maps_leaves_the_panel_alone() -> None:
    assert [value_from_infotext(setting, {"Steps": "20"}) for setting in SETTINGS] == [None] * len(SETTINGS)


def test_an_infotext_with_nonsense_gives_defaults() -> None:
    alpha = next(setting for setting in SETTINGS if setting.name == "alpha")
    assert value_from_infotext(alpha, {TITLE: "True", alpha.infotext: "lots"}) == alpha.default


def test_auto_layout_is_a_row_for_each_picture_of_a_batch() -> None:
    settings = Settings.read([True])
    assert DrawingSettings.of(settings, 1).layout == "auto"
    assert DrawingSettings.of(settings, 2).layout == "batch-rows"
