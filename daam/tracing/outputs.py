"""Similarity of image and words in the attention's output space, in models with joint attention. Knows no model.

After ConceptAttention (Helbling et al., ICML 2025): in each block and call, the attention's output at an image position
times that at a word, softmax over the words. There, words are concepts with a stream of their own; so are words that
are not in the prompt here (`families/second_text.py`). The others are the prompt's own words and signs, whose outputs
the model has computed anyway. Of a word of several tokens it is the mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from daam.tracing.attention import in_full_precision
from daam.tracing.families.base import Outputs
from daam.tracing.on_device import on_device
from daam.tracing.plan import TextKey, TracedText, first_rows
from daam.tracing.text_maps import LayerMaps, layer_of_size

WordColumns = tuple[tuple[int, ...], ...]
"""The columns of each word."""


class OutputMaps:
    """Adds up similarities over calls, on the model's device. What a call gave counts when it has come to its end."""

    def __init__(self, probed: WordColumns = ()) -> None:
        """Args: probed: the tokens of each word that is not in the prompt."""
        self._probed = probed
        self._sums: dict[TextKey, LayerMaps] = {}
        self._pending: dict[tuple[TextKey, str], Tensor] = {}
        self._means: dict[WordColumns, tuple[Tensor, Tensor]] = {}

    def forget_call(self) -> None:
        """Lets go of what a call gave so far."""
        self._pending.clear()

    def see(self, outputs: Outputs, texts: Mapping[int, TracedText]) -> None:
        """Looks at what one layer gave. Args: texts: of the rows that are wanted."""
        for row, text in texts.items():
            if text.output_words:
                self._pending[text.key, outputs.layer] = self._maps(outputs, row, outputs.text, text.output_words)
        if outputs.words is not None:
            for row, image in first_rows(texts):
                key = TextKey(image, "probe")
                self._pending[key, outputs.layer] = self._maps(outputs, row, outputs.words, self._probed)

    def _maps(self, outputs: Outputs, row: int, tokens: Tensor, words: WordColumns) -> Tensor:
        """[word, height, width] of one row. Args: tokens: [row, token, channel], of which words have some each."""
        columns, mean = self._mean_of(words, tokens)
        own = mean @ tokens[row].index_select(0, columns).float()
        return similarity(outputs.image[row].float(), own).T.reshape(len(own), *outputs.size)

    def end_call(self) -> None:
        """Adds what the call gave."""
        for (key, layer), maps in self._pending.items():
            kept = self._sums.setdefault(key, {})
            name = layer_of_size(layer, maps, kept)
            kept[name] = kept[name] + maps if name in kept else maps
        self._pending.clear()

    def of(self, key: TextKey) -> LayerMaps:
        """[word, height, width] of each layer, on the CPU; empty where there is nothing."""
        return {layer: maps.cpu() for layer, maps in self._sums.get(key, {}).items()}

    def _mean_of(self, words: WordColumns, like: Tensor) -> tuple[Tensor, Tensor]:
        """The columns of all words, and what makes the words' means of them, [word, column]."""
        if words not in self._means:
            columns = [column for word in words for column in word]
            rows = [torch.tensor([column in word for column in columns]) for word in words]
            member = torch.stack(rows).float()
            mean = member / member.sum(dim=1, keepdim=True)
            self._means[words] = (
                on_device(columns, like.device),
                mean.to(like.device, non_blocking=like.device.type == "cuda"),
            )
        return self._means[words]


@torch.no_grad()
def similarity(image: Tensor, words: Tensor) -> Tensor:
    """How much each image position is like each word, compared with the other words.

    >>> similarity(torch.eye(2), torch.eye(2)).argmax(dim=1).tolist()
    [0, 1]

    Args:
        image: [position, channel], float32.
        words: [word, channel], float32.

    Returns:
        [position, word], float32. Sums to 1 over `word`.
    """
    with in_full_precision(image.device.type):
        return (image @ words.T).softmax(dim=-1)
