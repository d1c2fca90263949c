"""How heat maps look: the drawing's part of the settings. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

from daam.errors import SettingError
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import READINGS
from daam.results.settings import SETTINGS, Settings, settings_of


@dataclass(frozen=True)
class DrawingSettings:
    """How heat maps look, whoever asks. `Settings` is what users set; its table says what fits here too.

    Attributes:
        terms: comma-separated; empty means every word of the prompt.
        opacity: 0..1; 1 shows the map alone.
        colormap: any name that matplotlib knows.
        scale: a name of `daam.maps.scales.SCALES`.
        layout: a name of `daam.pictures.grid.LAYOUTS`.
        show_captions: whether tiles have captions.
        image_scale: factor on the drawn pictures; None makes small ones legible.
        per_layer: a tile for each layer and term instead of one tile for each term.
        layers_as_rows: with `per_layer`, whether the layers are the rows and the terms the columns.
        with_negative: the words of the negative prompt too.
        layers: comma-separated patterns of layer names with * and ?, such as "up_blocks.*"; empty means all.
        blend: a name of `daam.pictures.blends.BLENDS`: "heat" leaves the picture recognisable where a word did nothing.
        skip_function_words: leave out words that name nothing, such as "a" and "and", where every word is shown.
        background: colour of the grid's gaps and empty spots; None is that of the captions.
        reading: a name of `daam.maps.readings.READINGS`; pictures that were not traced for it are drawn plain.

    Raises:
        SettingError, TermError: a value does not fit; the text names it.
    """

    terms: str = ""
    opacity: float = 0.5
    colormap: str = "turbo"
    scale: str = "shared"
    layout: str = "auto"
    show_captions: bool = True
    image_scale: float | None = None
    per_layer: bool = False
    layers_as_rows: bool = True
    with_negative: bool = False
    layers: str = ""
    blend: str = "heat"
    skip_function_words: bool = True
    background: str | None = None
    reading: str = "plain"

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            if setting.look is not None:
                setting.read_look(getattr(self, setting.look))
        reading = READINGS[self.reading]
        if self.layer_patterns and not (reading.takes_parts or reading.takes_layers):
            raise SettingError(
                f"{self.reading} maps are made from all layers: leave the layers empty, or take the plain map"
            )

    @property
    def layer_patterns(self) -> list[str]:
        """The patterns of `layers`; none stands for all layers."""
        return [pattern.strip() for pattern in self.layers.split(",") if pattern.strip()]

    def read(self, maps: HeatMaps) -> HeatMaps:
        """A picture's maps in the chosen reading; plain where it was not traced for that."""
        reading = READINGS[self.reading]
        return maps.select(reading=self.reading) if reading.needs in (None, *maps.trace.keep) else maps

    @classmethod
    def of(cls, settings: Settings, pictures: int = 1, background: str | None = None) -> DrawingSettings:
        """How a generation is drawn.

        Args:
            pictures: how many there are; with several, the panel's layout "Auto" is a row for each.
            background: of the grid, as above.
        """
        look = {
            setting.look: setting.to_look(getattr(settings, setting.name))
            for setting in settings_of(type(settings))
            if setting.look is not None
        }
        if settings.layout == "Auto" and pictures > 1:
            look["layout"] = "batch-rows"
        return cls(background=background, **look)
