"""Makes maps of what a layer attended with: the one place where probabilities become sums. Knows no model.

The probabilities are computed beside the model's own kernel, in float32, over all keys, only for the wanted rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from daam.errors import ShapeError
from daam.tracing.accumulator import Contribution
from daam.tracing.attention import cross_attention_probabilities, split_heads, sum_over_heads
from daam.tracing.families.base import Attended
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe

WantedRow = tuple[int, TracedText]
"""A row of what a layer attended with, and the text behind it."""


class Engine:
    """Keeps nothing but indices on the device, so that no call copies them again."""

    def __init__(self, *, keep_details: bool, keep_heads: bool, probe: Probe | None):
        """Args: keep_details: of steps or heads; keep_heads: each head by itself; probe: words beside the prompt."""
        self._keep_details = keep_details
        self._keep_heads = keep_heads
        self._probe = probe
        self._indices: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}

    def contributions(self, attended: Attended, rows: Sequence[WantedRow]) -> list[Contribution]:
        """What one layer gives to each of the wanted rows' texts, and to the probe.

        Raises:
            ShapeError: the keys have fewer columns than the texts, or there are not as many positions as in `size`.
        """
        height, width = attended.size
        if height * width != attended.query.shape[1]:
            raise ShapeError(
                f"expected {height}x{width} image positions in {attended.layer}, got {attended.query.shape[1]}; "
                "this model does not attend at the size of its transformer's input"
            )
        query = self._by_head(attended.query, attended, rows)
        keys = [self._by_head(key, attended, rows) for key in attended.keys]
        key = keys[0] if len(keys) == 1 else torch.cat(keys, dim=2)
        scale = query.shape[-1] ** -0.5 if attended.scale is None else attended.scale
        found = self._of_texts(attended, query, key, scale, rows)
        if self._probe is not None and attended.key_of is not None:
            found += self._of_probe(self._probe, attended, query, key, scale, rows)
        return found

    def _of_texts(
        self, attended: Attended, query: Tensor, key: Tensor, scale: float, rows: Sequence[WantedRow]
    ) -> list[Contribution]:
        heads = attended.heads
        if not self._keep_details:
            summed = sum_over_heads(query, key, scale)
            return [
                Contribution(text, self._columns(maps, text.columns, attended), None, heads)
                for (_, text), maps in zip(rows, summed)
            ]
        found = []
        for (_, text), by_head in zip(rows, cross_attention_probabilities(query, key, scale)):
            total = by_head.sum(dim=0)
            detail = by_head if self._keep_heads else total[None]
            details = self._columns(detail, text.detail_columns, attended) if text.detail_columns else None
            found.append(Contribution(text, self._columns(total, text.columns, attended), details, heads))
        return found

    def _of_probe(
        self, probe: Probe, attended: Attended, query: Tensor, key: Tensor, scale: float, rows: Sequence[WantedRow]
    ) -> list[Contribution]:
        """The probe's keys stand behind those of each picture's first positive text."""
        assert attended.key_of is not None
        probed = split_heads(attended.key_of(probe.vectors[None]), attended.heads)
        columns = tuple(key.shape[2] - attended.first_column + column for column in probe.columns)
        found: dict[int, Contribution] = {}
        for number, (_, text) in enumerate(rows):
            if text.key.side != "positive" or text.key.image in found:
                continue
            own = torch.cat([key[number : number + 1], probed], dim=2)
            summed = sum_over_heads(query[number : number + 1], own, scale)[0]
            traced = TracedText(TextKey(text.key.image, "probe"), probe.columns)
            maps = self._columns(summed, columns, attended)
            found[text.key.image] = Contribution(traced, maps, None, attended.heads)
        return list(found.values())

    def _by_head(self, tensor: Tensor, attended: Attended, rows: Sequence[WantedRow]) -> Tensor:
        """The wanted rows as [row, head, position, channel]; neighbours are a view, not a copy."""
        numbers = tuple(row for row, _ in rows)
        if numbers[-1] - numbers[0] + 1 == len(numbers):
            chosen = tensor[numbers[0] : numbers[-1] + 1]
        else:
            chosen = tensor.index_select(0, self._index(numbers, tensor.device))
        return split_heads(chosen, attended.heads)

    def _columns(self, probabilities: Tensor, columns: tuple[int, ...], attended: Attended) -> Tensor:
        """[…, position, token] to [len(columns), height, width], with leading axes as they were."""
        first, tokens = attended.first_column, probabilities.shape[-1]
        if first + max(columns) >= tokens:
            raise ShapeError(
                f"expected at least {max(columns) + 1} context columns for the prompt's tokens, "
                f"got {tokens - first}: the context was not made from this prompt"
            )
        places = columns if first == 0 else tuple(first + column for column in columns)
        chosen = probabilities.index_select(-1, self._index(places, probabilities.device))
        return chosen.transpose(-1, -2).reshape(*chosen.shape[:-2], len(columns), *attended.size)

    def _index(self, numbers: tuple[int, ...], device: torch.device) -> Tensor:
        if (numbers, device) not in self._indices:
            self._indices[numbers, device] = torch.tensor(numbers, device=device)
        return self._indices[numbers, device]
