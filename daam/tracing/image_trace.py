"""What is known of one picture after its generation: its prompts and the maps of their texts. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from daam.prompt.table import PromptTable
from daam.tracing.plan import Side, TextKey
from daam.tracing.text_maps import TextMaps

Region = tuple[int, int, int, int]
"""(left, top, width, height) in pixels."""


@dataclass(frozen=True)
class ImageTrace:
    """Everything needed to draw one picture's heat maps, without the model.

    Attributes:
        picture_size: (height, width) in pixels.
        positive, negative: token tables of the texts that were really encoded; None where there was no such text.
        texts: the kept maps of each text that conditioned the picture.
        calls: how often the model was called.
        keep: axes that were kept besides layers: "steps", "heads"; "refined" where there are refined maps.
        probe: the table of words that were asked for beside the prompt; None where there were none.
        region: (left, top, width, height) in pixels of the part of the picture that was generated, as inpainting at
            full resolution does; None where it is the whole picture.
        remarks: what to know of these maps, in sentences: that the generation was interrupted, say.
        not_refined: why there are no refined maps, as a sentence; empty where there are some, or none were asked for.
        no_outputs: the same of maps in the attention's output space.
    """

    picture_size: tuple[int, int]
    positive: PromptTable
    negative: PromptTable | None
    texts: dict[TextKey, TextMaps] = field(default_factory=dict)
    calls: int = 0
    keep: tuple[str, ...] = ()
    region: Region | None = None
    probe: PromptTable | None = None
    remarks: tuple[str, ...] = ()
    not_refined: str = ""
    no_outputs: str = ""

    def table(self, side: Side) -> PromptTable | None:
        return {"positive": self.positive, "negative": self.negative, "probe": self.probe}[side]
