"""What was kept of one text: maps of each layer at the layer's own resolution. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from daam.tracing.plan import TracedText

LayerMaps = dict[str, Tensor]
"""Layer name to maps [column, height, width], or with leading axes [step] and [head] where they were kept."""


EVERY_STEP = -1
"""Number of the step under which details of all steps are added up."""


@dataclass
class TextMaps:
    """What was kept of one text.

    Attributes:
        text: which columns the maps stand for, in this order.
        sums: layer to [column, height, width], float32: probabilities added up over heads and calls.
        counts: layer to the number of calls in `sums`.
        details: layer to the number of a step, from 0, to a tensor [head, column, height, width]; one head where
            heads were not kept, one step (`EVERY_STEP`) where steps were not kept.
        heads: layer to its number of heads.
        refined: [column, height, width], float32, of the text's `refined_columns`: see `daam.tracing.refining`; None
            where there are none.
        outputs: layer to [word, height, width], float32, of the text's `output_words`: see `daam.tracing.outputs`.
    """

    text: TracedText
    sums: LayerMaps = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    refined: Tensor | None = None
    outputs: LayerMaps = field(default_factory=dict)

    @property
    def steps(self) -> list[int]:
        """The steps of which details were kept."""
        return sorted({step for kept in self.details.values() for step in kept if step != EVERY_STEP})


def layer_of_size(layer: str, maps: Tensor, kept: LayerMaps) -> str:
    """The name under which maps of a layer are added to the kept ones: with their size where that is another one."""
    if layer not in kept or kept[layer].shape[-2:] == maps.shape[-2:]:
        return layer
    return f"{layer}@{maps.shape[-2]}x{maps.shape[-1]}"
