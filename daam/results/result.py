"""What comes of a generation, whoever made it: pictures, the trace of each, how they are drawn, and what is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from PIL import Image

from daam.errors import RecordError, TraceError
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import remark_of
from daam.results.drawing_settings import DrawingSettings
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import Side


def now() -> str:
    """The local time to the minute, as `Notes.date` has it."""
    return datetime.now().strftime("%Y-%m-%d %H:%M")


@dataclass(frozen=True)
class Notes:
    """What is known of a generation besides its pictures and maps; a record and a report hold it as it is.

    >>> daam.Notes("a circle", seed=3).seed
    3

    Attributes:
        prompt: as typed.
        seed: of the first picture.
        model: its name, as whoever generated calls it.
        settings: of the generation, as whoever generated names them.
        seconds: how long each part of the work took.
        versions: of the packages that the numbers depend on.
        remarks: what to know of the maps, in sentences: that the generation was interrupted.
        date: when it was made, "2026-11-26 14:05".
    """

    prompt: str = ""
    seed: int = 0
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    date: str = ""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Notes:
        """The notes of a record; keys that are not known here are left out.

        Raises:
            TypeError, ValueError: a value is of another kind.
        """
        kinds: dict[str, Any] = {each.name: type(getattr(cls(), each.name)) for each in fields(cls)}
        read = {name: kind(data[name]) for name, kind in kinds.items() if name in data}
        return cls(**{**read, "remarks": tuple(map(str, read.get("remarks", ())))})


@dataclass(frozen=True)
class Result:
    """A generation with its heat maps.

    >>> result = daam.Result([picture], [heat_maps.trace])
    >>> result.heat_maps()["circle"].values.shape
    (128, 128)

    Attributes:
        pictures, traces: one trace for each picture, in the same order.
        drawing: how the maps are drawn.
        fault: why nothing could be traced; then there are pictures, and no traces.

    Raises:
        RecordError: there is not one trace for each picture.
    """

    pictures: Sequence[Image.Image]
    traces: Sequence[ImageTrace]
    drawing: DrawingSettings = field(default_factory=DrawingSettings)
    notes: Notes = field(default_factory=Notes)
    fault: str | None = None

    def __post_init__(self) -> None:
        if len(self.traces) != (len(self.pictures) if self.fault is None else 0):
            raise RecordError(f"expected a trace for each of {len(self.pictures)} pictures, got {len(self.traces)}")

    @property
    def pairs(self) -> list[tuple[Image.Image, ImageTrace]]:
        """Each picture with its trace."""
        return list(zip(self.pictures, self.traces))

    def heat_maps(self, image: int = 0, *, side: Side = "positive") -> HeatMaps:
        """The heat maps of one picture.

        Args:
            side: "negative" for the words of the negative prompt, "probe" for those that were probed.

        Raises:
            TraceError: nothing was traced, with the reason.
            TermError: there is no prompt of that side.
        """
        if self.fault is not None:
            raise TraceError(self.fault)
        return HeatMaps(self.traces[image], side=side)

    @property
    def remarks(self) -> list[str]:
        """What to know of the maps, in sentences, each once: the notes', those of every picture, the reading's."""
        of_traces = [each for trace in self.traces for each in trace.remarks]
        of_reading = [remark_of(self.drawing.reading, trace) for trace in self.traces]
        return list(dict.fromkeys(filter(None, [*self.notes.remarks, *of_traces, *of_reading])))

    def noted(self) -> dict[str, Any]:
        """The notes with all remarks, and the drawing's settings, as plain data."""
        return {**asdict(self.notes), "remarks": self.remarks, "drawing": asdict(self.drawing)}

    @property
    def size(self) -> int:
        """Bytes of maps and pictures."""
        texts = [text for trace in self.traces for text in trace.texts.values()]
        sums = [tensor for text in texts for tensor in text.sums.values()]
        details = [tensor for text in texts for kept in text.details.values() for tensor in kept.values()]
        refined = [text.refined for text in texts if text.refined is not None]
        outputs = [tensor for text in texts for tensor in text.outputs.values()]
        maps = sum(tensor.numel() * tensor.element_size() for tensor in sums + details + refined + outputs)
        return maps + sum(4 * picture.width * picture.height for picture in self.pictures)
