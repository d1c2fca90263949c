"""Similarity of image and words in the attention's output space, in models with joint attention. Knows no model.

After ConceptAttention (Helbling et al., ICML 2025): in each block and call, the attention's output at an image position
times that at a word, softmax over the words. There, words are concepts with a stream of their own; here they are the
prompt's own words and signs, whose outputs the model has computed anyway: of a word of several tokens their mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from daam.tracing.families.base import Outputs
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.text_maps import LayerMaps, layer_of_size


class OutputMaps:
    """Adds up similarities over calls, on the model's device. What a call gave counts when it has come to its end."""

    def __init__(self) -> None:
        self._sums: dict[TextKey, LayerMaps] = {}
        self._pending: dict[tuple[TextKey, str], Tensor] = {}
        self._means: dict[TracedText, tuple[Tensor, Tensor]] = {}

    def forget_call(self) -> None:
        """Lets go of what a call gave so far."""
        self._pending.clear()

    def see(self, outputs: Outputs, texts: Mapping[int, TracedText]) -> None:
        """Looks at what one layer gave. Args: texts: of the rows that are wanted."""
        for row, text in texts.items():
            if text.output_words:
                columns, mean = self._mean_of(text, outputs.text)
                words = mean @ outputs.text[row].index_select(0, columns).float()
                maps = similarity(outputs.image[row].float(), words).T.reshape(len(words), *outputs.size)
                self._pending[text.key, outputs.layer] = maps

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

    def _mean_of(self, text: TracedText, like: Tensor) -> tuple[Tensor, Tensor]:
        """The columns of all words, and what makes the words' means of them, [word, column]."""
        if text not in self._means:
            columns = [column for word in text.output_words for column in word]
            rows = [torch.tensor([column in word for column in columns]) for word in text.output_words]
            member = torch.stack(rows).float()
            mean = member / member.sum(dim=1, keepdim=True)
            self._means[text] = (torch.tensor(columns, device=like.device), mean.to(like.device))
        return self._means[text]


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
    with torch.autocast(image.device.type, enabled=False):
        return (image @ words.T).softmax(dim=-1)
