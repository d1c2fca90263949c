"""How one setting is declared, and how its value is read at every door. Knows no host and no setting by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from daam.errors import SettingError

Row = Literal["switch", "terms", "probe", "size", "colours", "tiles", "layout", "output", "layers", "more"]
"""The rows of the panel, from above; "switch" is the head that opens it."""
FOLDED: tuple[Row, ...] = ("layout", "output", "layers", "more")
"""Those that most people never touch."""
Kind = Literal["checkbox", "choice", "slider", "text"]
COMPONENTS: Mapping[Kind, str] = {
    "checkbox": "Checkbox", "choice": "Dropdown", "slider": "Slider", "text": "Textbox",
}  # fmt: skip
"""gradio's names."""
MOST_NAMED = 12
"""Choices that an error names."""


@dataclass(frozen=True)
class Option:
    """How the command line says a setting. Of a checkbox it is a flag that turns it from its default.

    Attributes:
        help: in a few words, for a help that fits a screen.
        default: the setting's value where the option is not given; None is that of the panel.
        maximum: where more is allowed than in the panel.
        meaning: for the README, where the panel's help does not fit.
    """

    flag: str
    help: str
    metavar: str | None = None
    default: Any = None
    maximum: float | None = None
    meaning: str = ""


@dataclass(frozen=True)
class Setting:
    """One setting: a control of the panel, an argument of the API, and what else says it.

    Attributes:
        name: attribute of `Settings`, and end of the elem_id.
        label: also the name in the API's script-info.
        infotext: its key in the infotext.
        place: row of the panel and position in that row, from 1.
        listed: the choices of a dropdown, or what lists them.
        values: what the docs call the choices, where they are too many to name.
        minimum, maximum, step: of a slider.
        check: raises a DaamError for a text that cannot be read.
        look: the attribute of `DrawingSettings` that it sets.
        look_names: names of the choices there and on the command line, where they differ.
        is_look_opposite: whether a checkbox says the opposite there.
        is_optional: whether the command line and `DrawingSettings` may leave it open, as None.
        is_axis: whether X/Y/Z plot has it.
        has_start_value: whether its value at start is in the WebUI's settings.
        is_in_app: whether the page of `daam ui` has it, which shows no grid.
        option: how the command line says it; without a `look` only where a picture is generated.
    """

    name: str
    label: str
    default: Any
    help: str
    infotext: str
    place: tuple[Row, int]
    listed: Sequence[str] | Callable[[], Sequence[str]] = ()
    values: str = ""
    minimum: float = 0
    maximum: float = 1
    step: float = 0.05
    check: Callable[[str], object] | None = None
    look: str | None = None
    look_names: Mapping[str, str] = field(default_factory=dict)
    is_look_opposite: bool = False
    is_optional: bool = False
    is_axis: bool = False
    has_start_value: bool = False
    is_in_app: bool = False
    option: Option | None = None

    @property
    def kind(self) -> Kind:
        if isinstance(self.default, bool):
            return "checkbox"
        if self.listed:
            return "choice"
        return "slider" if isinstance(self.default, float) else "text"

    @property
    def choices(self) -> Sequence[str]:
        return self.listed() if callable(self.listed) else self.listed

    @property
    def component(self) -> str:
        """gradio's name of its component."""
        return COMPONENTS[self.kind]

    def limits(self) -> dict[str, Any]:
        """What the component must know beside label and value."""
        if self.kind == "choice":
            return {"choices": list(self.choices)}
        if self.kind == "slider":
            return {"minimum": self.minimum, "maximum": self.maximum, "step": self.step}
        return {}

    def component_arguments(self) -> dict[str, Any]:
        """What gradio's component is made with, in every version."""
        return {"label": self.label, "value": self.default, **self.limits()}

    def read(self, value: Any, name: str = "") -> Any:
        """The value, checked, in the type of the default; the API passes whatever JSON holds.

        Args:
            value: None is the default.
            name: what the user knows it by; the label by default.

        Raises:
            SettingError, TermError: it does not fit.
        """
        name = name or self.label
        if value is None:
            return self.default
        if self.kind == "checkbox":
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return value.lower() == "true"
            if not isinstance(value, (bool, int)):
                raise SettingError(f"{name}: expected true or false, got {value!r}")
            return bool(value)
        if self.kind == "choice":
            by_small_letters = {choice.casefold(): choice for choice in self.choices}
            return _choose(str(value).casefold(), by_small_letters, self.choices, name, value)
        if self.kind == "slider":
            return _read_number(value, self.minimum, self.maximum, name)
        if not isinstance(value, str):
            raise SettingError(f"{name}: expected text, got {value!r}")
        if self.check is not None:
            self.check(value)
        return value

    def read_look(self, value: Any, name: str = "") -> Any:
        """The setting's value for one of `DrawingSettings` or the command line, checked as `read` does.

        Raises:
            SettingError, TermError: it does not fit.
        """
        name = name or (self.look or self.name).replace("_", " ")
        if value is None and self.is_optional:
            return None
        if self.kind == "choice":
            names = {self.look_names.get(choice, choice): choice for choice in self.choices}
            return _choose(value, names, list(names), name, value)
        if self.kind == "slider":
            more = None if self.option is None else self.option.maximum
            return _read_number(value, self.minimum, self.maximum if more is None else more, name)
        read = self.read(value, name)
        return not read if self.is_look_opposite else read

    def to_look(self, value: Any) -> Any:
        """A value of the setting as `DrawingSettings` has it."""
        return not value if self.is_look_opposite else self.look_names.get(value, value)

    def read_option(self, value: Any) -> Any:
        """The setting's value for what the command line gives; None is an option that is not there.

        Raises:
            SettingError, TermError: it does not fit.
        """
        assert self.option is not None, f"the command line does not have {self.name!r}"
        if value is None:
            own = self.option.default
            return own if own is not None or self.is_optional else self.default
        if self.kind == "checkbox":
            return self.read(value)
        return self.read_look(value, self.option.flag.lstrip("-").replace("-", " "))

    def to_text(self, value: Any) -> str:
        """A value as infotext and docs write it."""
        return f"{value:g}" if self.kind == "slider" else str(value)


def declare(label: str, default: Any, help: str, *, infotext: str, place: tuple[Row, int], **more: Any) -> Any:
    """A field of `Settings`: its declaration, with `more` for what else `Setting` has."""
    setting = Setting("", label, default, help, infotext, place, **more)
    return field(default=default, metadata={"setting": setting})


def rows_of(settings: Sequence[Setting]) -> dict[Row, list[Setting]]:
    """The rows of the panel from above, each with its settings from the left."""
    ordered = sorted(settings, key=lambda setting: setting.place[1])
    return {row: [setting for setting in ordered if setting.place[0] == row] for row in get_args(Row)}


def check_settings(settings: Sequence[Setting]) -> None:
    """Sees our own mistakes in the table, at import rather than at the WebUI's start.

    Raises:
        AssertionError: the text says which setting and what is wrong.
    """
    for setting in settings:
        name = setting.name
        assert setting.label and setting.help and setting.infotext, f"setting {name!r}: expected label, help, infotext"
        row, position = setting.place or (None, 0)
        assert row in get_args(Row), f"setting {name!r}: expected a row of the panel ({get_args(Row)}), got {row!r}"
        assert position >= 1, f"setting {name!r}: expected a position in its row from 1, got {position}"
        assert setting.read(setting.default) == setting.default, f"setting {name!r}: its default does not fit"
        unknown = set(setting.look_names) - set(setting.choices)
        assert not unknown, f"setting {name!r}: names for choices that it has not: {unknown}"
    unique: dict[str, list[Any]] = {
        "name": [setting.name for setting in settings],
        "infotext key": [setting.infotext for setting in settings],
        "place": [setting.place for setting in settings],
        "flag": [setting.option.flag for setting in settings if setting.option is not None],
        "look": [setting.look for setting in settings if setting.look is not None],
    }
    for what, found in unique.items():
        twice = sorted({str(each) for each in found if found.count(each) > 1})
        assert not twice, f"settings: expected one setting for each {what}, several have {', '.join(twice)}"
    switch = [setting for setting in settings if setting.place[0] == "switch"]
    assert switch == list(settings[:1]), "settings: expected the first, and no other, to be the panel's switch"


def _choose(key: Any, found: Mapping[str, str], names: Sequence[str], name: str, value: Any) -> str:
    """The choice of that key, or an error that names the choices."""
    if key in found:
        return found[key]
    is_long = len(names) > MOST_NAMED
    by_small_letters = {each.casefold(): each for each in names}
    close = get_close_matches(str(value).casefold(), by_small_letters, n=3) if is_long else []
    likely = ", ".join(by_small_letters[each] for each in close)
    named = ", ".join([*names[:MOST_NAMED], "…"] if is_long else names)
    raise SettingError(f"{name}: expected one of {named}, got {value!r}" + (f"; try {likely}" if likely else ""))


def _read_number(value: Any, minimum: float, maximum: float, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SettingError(f"{name}: expected a number, got {value!r}") from None
    if not minimum <= number <= maximum:
        raise SettingError(f"{name}: expected {minimum:g} to {maximum:g}, got {number:g}")
    return number
