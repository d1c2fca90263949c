"""The one table of settings. Panel, API, infotext, axes, settings page, command line, `daam ui` and docs follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from daam.errors import DaamError
from daam.maps.readings import READINGS
from daam.maps.scales import SCALES
from daam.pictures.blends import BLENDS
from daam.pictures.colormaps import colormap_names
from daam.prompt.terms import parse_terms
from daam.results.declaring import Option, Setting, check_settings, declare

TITLE = "Attention Heatmap"
LAYOUTS = {"Auto": "auto", "Prevent empty spot": "no-gaps", "Batch length as row": "batch-rows"}
"""The panel's names for the layouts of `daam.pictures.grid`; "Auto" is a row for each picture of a batch."""
PASSES = ("both", "first", "second")


@dataclass(frozen=True)
class Settings:
    """What a user sets, checked. One field for each setting, in the order of the API's arguments.

    New ones go to the end: callers count.
    """

    enabled: bool = declare(
        TITLE,
        False,
        "Show which part of the picture attends to each word of the prompt.",
        infotext=TITLE,
        place=("switch", 1),
    )
    terms: str = declare(
        "Attention terms (comma separated; empty = every word)",
        "",
        "Words or phrases of the prompt, such as: cat, red hat. A comma inside a term goes in quotes; cat#2 is the "
        "second cat of the prompt.",
        infotext="Heatmap terms",
        place=("terms", 1),
        check=parse_terms,
        look="terms",
        is_axis=True,
        is_in_app=True,
        option=Option("--terms", '"cat, red hat"; default: every word', "LIST"),
    )
    alpha: float = declare(
        "Heatmap blend alpha",
        0.5,
        "How strongly the heat map covers the picture: 0 shows the picture, 1 the map alone.",
        infotext="Heatmap alpha",
        place=("size", 1),
        look="opacity",
        is_axis=True,
        has_start_value=True,
        is_in_app=True,
        option=Option("--opacity", "1 shows the map alone", "0..1"),
    )
    use_grid: bool = declare(
        "Use grid (output to grid directory)",
        True,
        "One picture with a tile for each term, saved with your grids. Off: one picture for each term, beside the "
        "picture.",
        infotext="Heatmap grid",
        place=("output", 1),
        has_start_value=True,
    )
    layout: str = declare(
        "Grid layout",
        "Auto",
        "How the grid's tiles are laid out.",
        infotext="Heatmap layout",
        place=("layout", 1),
        listed=tuple(LAYOUTS),
        look="layout",
        look_names=LAYOUTS,
        has_start_value=True,
        option=Option("--layout", "auto, no-gaps or batch-rows", "NAME"),
    )
    image_scale: float | None = declare(
        "Heatmap image scale",
        1.0,
        "Size of the heat map pictures, as a factor on the picture's.",
        infotext="Heatmap image scale",
        place=("layout", 2),
        minimum=0.1,
        maximum=4.0,
        look="image_scale",
        is_optional=True,
        has_start_value=True,
        option=Option(
            "--image-scale",
            "size of the tiles; small ones are enlarged",
            "F",
            maximum=16,
            meaning="Size of the tiles, as a factor on the picture's; without it small ones are made legible.",
        ),
    )
    colormap: str = declare(
        "Colormap",
        "turbo",
        "Colours from little attention to much, as matplotlib names them.",
        infotext="Heatmap colormap",
        place=("colours", 1),
        listed=colormap_names,
        values="any of matplotlib's",
        look="colormap",
        is_axis=True,
        has_start_value=True,
        is_in_app=True,
        option=Option("--colormap", "any of matplotlib (turbo)", "NAME"),
    )
    scale: str = declare(
        "Scale",
        "shared",
        "shared: all words on one scale, so that weak words look weak. each: every word fills its own scale. "
        "share: which part of a spot's attention goes to the word.",
        infotext="Heatmap scale",
        place=("colours", 2),
        listed=lambda: tuple(SCALES),
        look="scale",
        is_axis=True,
        has_start_value=True,
        is_in_app=True,
        option=Option("--scale", "shared, each or share", "NAME"),
    )
    hide_images: bool = declare(
        "Hide heatmap images", False, "Save them only.", infotext="Heatmap hidden", place=("output", 2)
    )
    no_saving: bool = declare(
        "Do not save heatmap images", False, "Show them only.", infotext="Heatmap not saved", place=("output", 3)
    )
    hide_caption: bool = declare(
        "Hide caption",
        False,
        "Tiles without their words.",
        infotext="Heatmap without captions",
        place=("tiles", 1),
        look="show_captions",
        is_look_opposite=True,
        option=Option("--no-caption", "tiles without their words"),
    )
    with_negative: bool = declare(
        "Negative prompt too",
        False,
        "A tile for each word of the negative prompt.",
        infotext="Heatmap negative",
        place=("tiles", 2),
        look="with_negative",
        option=Option("--negative-maps", "the negative prompt's words too"),
    )
    per_layer: bool = declare(
        "Trace each layer",
        False,
        "A tile for each layer of the model and each term.",
        infotext="Heatmap layers",
        place=("layers", 1),
        look="per_layer",
        option=Option("--per-layer", "a row of tiles for each layer"),
    )
    layers_as_rows: bool = declare(
        "Layers as rows",
        True,
        "With 'Trace each layer': layers are rows, terms columns.",
        infotext="Heatmap layers as rows",
        place=("layers", 2),
        look="layers_as_rows",
    )
    passes: Any = declare(
        "Hires pass",
        "both",
        "Which pass of hires fix the maps are made from.",
        infotext="Heatmap pass",
        place=("more", 1),
        listed=PASSES,
    )
    layers: str = declare(
        "Layers (patterns; empty = all)",
        "",
        "Only these layers of the model, such as: output_blocks.*, middle_block.*",
        infotext="Heatmap layer names",
        place=("layers", 3),
        look="layers",
        is_axis=True,
        option=Option("--layers", 'such as "up_blocks.*"', "LIST", meaning="Only these layers, such as: up_blocks.*"),
    )
    probe: str = declare(
        "Probe words (need not be in the prompt)",
        "",
        "Words that need not be in the prompt, comma separated: where the picture would attend to them. It stays as it "
        "is.",
        infotext="Heatmap probe",
        place=("probe", 1),
        check=parse_terms,
        is_in_app=True,
        option=Option("--probe", "words that are not in the prompt", "LIST"),
    )
    keep_steps: bool = declare(
        "Keep each step",
        False,
        "Adds a step slider to the viewer, for the terms above or for every word. Memory then grows with the steps.",
        infotext="Heatmap steps",
        place=("more", 2),
    )
    blend: str = declare(
        "Blend",
        "heat",
        "heat: the hotter, the more opaque, so that the picture stays recognisable where a word did nothing. even: the "
        "map covers all of the picture alike.",
        infotext="Heatmap blend",
        place=("colours", 3),
        listed=lambda: tuple(BLENDS),
        look="blend",
        has_start_value=True,
        is_in_app=True,
        option=Option("--blend", "heat or even", "NAME"),
    )
    skip_function_words: bool = declare(
        "Leave out a, and, of …",
        True,
        "Where every word is shown: no tile for words that name nothing, and for signs.",
        infotext="Heatmap without function words",
        place=("tiles", 3),
        look="skip_function_words",
        has_start_value=True,
        option=Option("--all-words", "tiles for a, and, of … too"),
    )
    reading: str = declare(
        "Map",
        "plain",
        "plain: the attention itself. refined: an estimate of each word's region that follows outlines, from what the "
        "model saw as belonging together at the end. output: image and words compared in what attention gives, in "
        "models with joint attention such as Flux. balanced: each layer of the model divided by its mean.",
        infotext="Heatmap map",
        place=("colours", 4),
        listed=lambda: tuple(READINGS),
        look="reading",
        is_axis=True,
        has_start_value=True,
        is_in_app=True,
        option=Option("--map", "plain, refined, output or balanced", "NAME"),
    )

    @classmethod
    def read(cls, values: Sequence[Any], overrides: Mapping[str, Any] | None = None) -> Settings:
        """The settings of a script's arguments; missing ones are the defaults.

        Args:
            overrides: values by name that come before the arguments.

        Raises:
            SettingError, TermError: a value does not fit.
        """
        table = settings_of(cls)
        given = {setting.name: value for setting, value in zip(table, values)}
        given.update(overrides or {})
        return cls(**{setting.name: setting.read(given.get(setting.name)) for setting in table})

    @staticmethod
    def is_enabled(values: Sequence[Any]) -> bool:
        """Whether the panel is switched on, without reading the rest."""
        return bool(values) and values[0] in (True, 1, "true", "True")

    def infotext(self) -> dict[str, str]:
        """Keys and values for the picture's infotext; defaults are left out."""
        values = [(setting, getattr(self, setting.name)) for setting in settings_of(type(self))]
        return {setting.infotext: setting.to_text(value) for setting, value in values if value != setting.default}


def value_from_infotext(setting: Setting, parameters: Mapping[str, Any]) -> Any:
    """What pasting an infotext sets a control to; None leaves it, where the infotext knows nothing of heat maps."""
    if TITLE not in parameters:
        return None
    try:
        return setting.read(parameters.get(setting.infotext))
    except DaamError:
        return setting.default


def settings_of(table: type[Settings]) -> tuple[Setting, ...]:
    """The settings that a class declares, in its order."""
    return tuple(replace(field.metadata["setting"], name=field.name) for field in fields(table))


SETTINGS = settings_of(Settings)
check_settings(SETTINGS)
