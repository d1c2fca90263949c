"""Heat maps of a prompt that are drawn by hand: each word's map is 1 in a box and 0 elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from daam.maps.heat_maps import HeatMaps
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.typed_words import words_of
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.text_maps import TextMaps
from tests.places import TOKENIZER

SIZE = 16
Box = tuple[int, int, int, int]
"""Top, bottom, left, right."""


def drawn_maps(prompt: str, boxes: Sequence[Box], value: float = 1.0) -> HeatMaps:
    """Args: boxes: one for each word or sign of the prompt, in order."""
    table = parse_prompt(prompt, ClipTokenizer.from_folder(TOKENIZER))
    words = words_of(table.parts[0].schedule[0]).words
    assert len(words) == len(boxes), [word.text for word in words]
    maps = {}
    for word, (top, bottom, left, right) in zip(words, boxes):
        values = np.zeros((SIZE, SIZE), np.float32)
        values[top:bottom, left:right] = value
        maps |= dict.fromkeys(word.columns, values)
    columns = tuple(sorted(maps))
    text = TextMaps(TracedText(TextKey(0, "positive"), columns))
    text.sums = {"layer": torch.tensor(np.stack([maps[column] for column in columns]))}
    text.counts, text.heads = {"layer": 1}, {"layer": 2}
    return HeatMaps(ImageTrace((SIZE, SIZE), table, None, {text.text.key: text}, 1))
