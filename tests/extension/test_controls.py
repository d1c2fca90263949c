"""The table of controls: every entry is read, checked, written to the infotext and read back."""

from __future__ import annotations

from typing import Any

import pytest

from daam.errors import SettingError, TermError
from daam.webui.controls import CONTROLS, TITLE, Control, PanelSettings, value_from_infotext

OTHER: dict[str, Any] = {"checkbox": lambda c: not c.default, "choice": lambda c: c.choices[-1],
                         "slider": lambda c: c.maximum, "text": lambda c: "cat"}  # fmt: skip


def other_value(control: Control) -> Any:
    """A value that is not the default."""
    return OTHER[control.kind](control)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_control_goes_through_the_infotext(control: Control) -> None:
    values = {"enabled": True, control.name: other_value(control)}
    settings = PanelSettings.read([values.get(each.name) for each in CONTROLS])
    assert getattr(settings, control.name) == other_value(control)
    infotext = settings.infotext()
    assert set(infotext) == {TITLE, control.infotext}, "defaults are left out"
    for each in CONTROLS:
        assert value_from_infotext(each, infotext) == getattr(settings, each.name)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_control_has_a_label_a_tooltip_and_a_place_of_its_own(control: Control) -> None:
    assert control.label and control.tooltip and control.infotext
    assert sum(each.infotext == control.infotext for each in CONTROLS) == 1


def test_missing_arguments_are_the_defaults() -> None:
    assert PanelSettings.read([True]) == PanelSettings.read([True, *(control.default for control in CONTROLS[1:])])


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
        PanelSettings.read([True], {name: value})


def test_bad_terms_are_an_error_at_once() -> None:
    with pytest.raises(TermError, match="count from 1"):
        PanelSettings.read([True, "cat#0"])


def test_an_infotext_without_heat_maps_leaves_the_panel_alone() -> None:
    assert [value_from_infotext(control, {"Steps": "20"}) for control in CONTROLS] == [None] * len(CONTROLS)


def test_an_infotext_with_nonsense_gives_defaults() -> None:
    alpha = next(control for control in CONTROLS if control.name == "alpha")
    assert value_from_infotext(alpha, {TITLE: "True", alpha.infotext: "lots"}) == alpha.default


def test_auto_layout_is_a_row_for_each_picture_of_a_batch() -> None:
    settings = PanelSettings.read([True])
    assert settings.drawing(1, None).layout == "auto"
    assert settings.drawing(2, None).layout == "batch-rows"
