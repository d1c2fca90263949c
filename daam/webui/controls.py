"""The panel's controls as data: one entry each. Panel, API, infotext, axes and settings all follow this table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from daam.errors import SettingError
from daam.maps.scales import SCALES
from daam.pictures.colormaps import colormap_names
from daam.prompt.terms import parse_terms
from daam.results.drawing import DrawingSettings

TITLE = "Attention Heatmap"
LAYOUTS = {"Auto": "auto", "Prevent empty spot": "no-gaps", "Batch length as row": "batch-rows"}
"""The panel's names for the layouts of `daam.pictures.grid`; "Auto" is a row for each picture of a batch."""
PASSES = ("both", "first", "second")


@dataclass(frozen=True)
class Control:
    """One control of the panel, one argument of the API.

    Attributes:
        name: attribute of `PanelSettings`, and end of the elem_id.
        label: also the name in the API's script-info.
        infotext: its key in the infotext.
        choices, minimum, maximum, step: for dropdowns and sliders.
    """

    name: str
    label: str
    default: Any
    tooltip: str
    infotext: str
    choices: Sequence[str] = ()
    minimum: float = 0
    maximum: float = 1
    step: float = 0.05

    @property
    def kind(self) -> Literal["checkbox", "choice", "slider", "text"]:
        if isinstance(self.default, bool):
            return "checkbox"
        if self.choices:
            return "choice"
        return "slider" if isinstance(self.default, float) else "text"

    def read(self, value: Any) -> Any:
        """The value, checked, in the type of the default; the API passes whatever JSON holds.

        Raises:
            SettingError: it does not fit.
        """
        if value is None:
            return self.default
        if self.kind == "checkbox":
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return value.lower() == "true"
            if not isinstance(value, (bool, int)):
                raise SettingError(f"{self.label}: expected true or false, got {value!r}")
            return bool(value)
        if self.kind == "choice":
            by_small_letters = {choice.casefold(): choice for choice in self.choices}
            if str(value).casefold() not in by_small_letters:
                raise SettingError(f"{self.label}: expected one of {', '.join(self.choices[:12])}, got {value!r}")
            return by_small_letters[str(value).casefold()]
        if self.kind == "slider":
            return self._read_number(value)
        if not isinstance(value, str):
            raise SettingError(f"{self.label}: expected text, got {value!r}")
        return value

    def _read_number(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise SettingError(f"{self.label}: expected a number, got {value!r}") from None
        if not self.minimum <= number <= self.maximum:
            raise SettingError(f"{self.label}: expected {self.minimum:g} to {self.maximum:g}, got {number:g}")
        return number


CONTROLS: tuple[Control, ...] = (
    Control("enabled", TITLE, False, "Show what every word of the prompt did to the picture.", TITLE),
    Control(
        "terms",
        "Attention terms (comma separated; empty = every word)",
        "",
        "Words or phrases of the prompt, such as: cat, red hat. A comma inside a term goes in quotes; cat#2 is the "
        "second cat of the prompt.",
        "Heatmap terms",
    ),
    Control(
        "alpha",
        "Heatmap blend alpha",
        0.5,
        "How strongly the heat map covers the picture: 0 shows the picture, 1 the map alone.",
        "Heatmap alpha",
    ),
    Control(
        "use_grid",
        "Use grid (output to grid directory)",
        True,
        "One picture with a tile for each term, saved with your grids. Off: one picture for each term, beside the "
        "picture.",
        "Heatmap grid",
    ),
    Control("layout", "Grid layout", "Auto", "How the grid's tiles are laid out.", "Heatmap layout", tuple(LAYOUTS)),
    Control(
        "image_scale",
        "Heatmap image scale",
        1.0,
        "Size of the heat map pictures, as a factor on the picture's.",
        "Heatmap image scale",
        minimum=0.1,
        maximum=4.0,
    ),
    Control(
        "colormap",
        "Colormap",
        "turbo",
        "Colours from little attention to much, as matplotlib names them.",
        "Heatmap colormap",
        tuple(colormap_names()),
    ),
    Control(
        "scale",
        "Scale",
        "shared",
        "shared: all words on one scale, so that weak words look weak. each: every word fills its own scale. "
        "share: which part of a spot's attention goes to the word.",
        "Heatmap scale",
        tuple(SCALES),
    ),
    Control("hide_images", "Hide heatmap images", False, "Save them only.", "Heatmap hidden"),
    Control("no_saving", "Do not save heatmap images", False, "Show them only.", "Heatmap not saved"),
    Control("hide_caption", "Hide caption", False, "Tiles without their words.", "Heatmap without captions"),
    Control("with_negative", "Negative prompt too", False, "A tile for each word of the negative prompt.",
            "Heatmap negative"),
    Control("per_layer", "Trace each layer", False, "A tile for each layer of the model and each term.",
            "Heatmap layers"),
    Control("layers_as_rows", "Layers as rows", True, "With 'Trace each layer': layers are rows, terms columns.",
            "Heatmap layers as rows"),
    Control("passes", "Hires pass", "both", "Which pass of hires fix is looked at.", "Heatmap pass", PASSES),
    Control("layers", "Layers (patterns; empty = all)", "", "Only these layers of the model, such as: output_blocks.*, "
            "middle_block.*", "Heatmap layer names"),
    Control("probe", "Probe words (need not be in the prompt)", "", "Where would these words look? Comma separated. "
            "The picture is not touched.", "Heatmap probe"),
    Control("keep_steps", "Keep each step", False, "Adds a step slider to the viewer, for the terms above or for every "
            "word. Memory then grows with the steps.", "Heatmap steps"),
)  # fmt: skip
"""In the order of the API's arguments. New ones go to the end: callers count."""


@dataclass(frozen=True)
class PanelSettings:
    """What the panel says. Attributes are the names of `CONTROLS`."""

    enabled: bool
    terms: str
    alpha: float
    use_grid: bool
    layout: str
    image_scale: float
    colormap: str
    scale: str
    hide_images: bool
    no_saving: bool
    hide_caption: bool
    with_negative: bool
    per_layer: bool
    layers_as_rows: bool
    passes: Any
    layers: str
    probe: str
    keep_steps: bool

    @classmethod
    def read(cls, values: Sequence[Any], overrides: Mapping[str, Any] | None = None) -> PanelSettings:
        """The settings of a script's arguments; missing ones are the defaults.

        Args:
            overrides: values by name that come before the arguments.

        Raises:
            SettingError, TermError: a value does not fit.
        """
        given = {control.name: value for control, value in zip(CONTROLS, values)}
        given.update(overrides or {})
        settings = cls(**{control.name: control.read(given.get(control.name)) for control in CONTROLS})
        parse_terms(settings.terms)
        parse_terms(settings.probe)
        return settings

    @staticmethod
    def is_enabled(values: Sequence[Any]) -> bool:
        """Whether the panel is switched on, without reading the rest."""
        return bool(values) and values[0] in (True, 1, "true", "True")

    def infotext(self) -> dict[str, str]:
        """Keys and values for the picture's infotext; defaults are left out."""
        found = {}
        for control in CONTROLS:
            value = getattr(self, control.name)
            if value != control.default:
                found[control.infotext] = f"{value:g}" if control.kind == "slider" else str(value)
        return found

    def drawing(self, pictures: int, background: str | None) -> DrawingSettings:
        """How a generation of so many pictures is drawn."""
        layout = "batch-rows" if self.layout == "Auto" and pictures > 1 else LAYOUTS[self.layout]
        return DrawingSettings(
            terms=self.terms,
            opacity=self.alpha,
            colormap=self.colormap,
            scale=self.scale,
            layout=layout,
            show_captions=not self.hide_caption,
            image_scale=self.image_scale,
            per_layer=self.per_layer,
            layers_as_rows=self.layers_as_rows,
            with_negative=self.with_negative,
            layers=self.layers,
            background=background,
        )


def value_from_infotext(control: Control, parameters: Mapping[str, Any]) -> Any:
    """What pasting an infotext sets a control to; None leaves it, where the infotext knows nothing of heat maps."""
    if TITLE not in parameters:
        return None
    try:
        return control.read(parameters.get(control.infotext))
    except SettingError:
        return control.default


assert [field.name for field in fields(PanelSettings)] == [control.name for control in CONTROLS]
