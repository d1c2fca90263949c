"""How layers of one shape are worked off together: made once for each shape, used in every call. Knows no model.

Everything that does not change from call to call is here: which rows and columns are wanted, and where they stand.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from daam.errors import ShapeError
from daam.tracing import operands
from daam.tracing.attention import (
    CACHED_ELEMENTS,
    CHUNK_ELEMENTS,
    CHUNK_FACTOR,
    by_head,
    in_float32,
    in_full_precision,
    log_sum_exp,
    probabilities,
    wanted_probabilities,
)
from daam.tracing.block import Block, Legend, Share
from daam.tracing.families.base import Attended
from daam.tracing.memory import Scratch
from daam.tracing.on_device import on_device
from daam.tracing.plan import TextKey, TracedText, first_rows
from daam.tracing.shares import Shares

MANY_TOKENS = 256
"""Of more keys than these only the wanted ones are scored: joint attention has the image's among them."""

WantedRow = tuple[int, TracedText]
"""A row of what a layer attended with, and the text behind it."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is wanted of every layer that runs with the same rows.

    Attributes:
        with_details: whether maps of steps or heads are kept; by_head: each head's by itself.
        layouts: those that were made for it, by what the layers' shapes are.
    """

    rows: tuple[WantedRow, ...]
    with_details: bool = False
    by_head: bool = False
    layouts: dict[Hashable, Layout] = field(default_factory=dict)


class Layout:
    """The layers of one shape, for the rows of one kind of call.

    Attributes:
        is_alone: the probabilities of one layer are too many to hold, or to be made all of them.
        layers_at_once: whose probabilities can be held together.
        joined_bytes: of what is set aside of one layer; query_bytes: the same without its keys.
    """

    def __init__(self, wanted: Wanted, attended: Attended, probed: int):
        """
        Args:
            probed: number of words beside the prompt, whose keys stand behind its own.

        Raises:
            ShapeError: the keys have fewer columns than the texts, or there are not as many positions as in `size`.
        """
        height, width = attended.size
        if height * width != attended.query.shape[1]:
            raise ShapeError(
                f"expected {height}x{width} image positions in {attended.layer}, got {attended.query.shape[1]}; "
                "this model does not attend at the size of its transformer's input"
            )
        device = attended.query.device
        self._is_flat = attended.query.dim() == 3
        batch, positions = attended.query.shape[:2]
        channels = attended.query.shape[2:].numel()
        own_tokens = sum(key.shape[1] for key in attended.keys)
        rows = [row for row, _ in wanted.rows]
        self._by_head, self._probed = wanted.by_head, probed
        self._last_row, self._own_rows = rows[-1], on_device(rows, device)
        self._heads = attended.heads
        self._tokens = own_tokens + probed
        self._filled_tokens = operands.filled_up(self._tokens, device)
        self._is_on_processor = operands.is_processor(device)
        self._own_tokens = own_tokens
        self._positions = positions
        self._scale = (channels // attended.heads) ** -0.5 if attended.scale is None else attended.scale
        is_slice = rows == list(range(rows[0], rows[0] + len(rows)))
        self._rows = range(rows[0], rows[0] + len(rows)) if is_slice else range(len(rows))
        self._chosen = None if is_slice else self._own_rows
        shares, columns, details = _shares(wanted, probed, attended.first_column, own_tokens)
        self._legend = Legend(shares, attended.size, attended.heads)
        own = columns[: len(columns) - probed]
        self._own_columns = on_device(own, device)
        self._nothing = torch.zeros(1, device=device)
        self._detail_places = on_device([own.index(column) for column in details], device) if details else None
        span = range(own[0], own[-1] + 1)
        self._wanted_shares = Shares(own_tokens, probed, slice(span.start, span.stop), device)
        in_span = [column - own[0] for column in own] + list(range(len(span), len(span) + probed))
        self._columns_in_span = on_device(in_span, device) if len(span) > len(own) else None
        self._details_in_span = on_device([column - own[0] for column in details], device) if details else None
        # Equal keys get equal shares: all copies of a word together have so many times one's, and beside a text that
        # stands behind itself a probe's key weighs as one of the text's.
        repeats = [text.repeats for _, text in wanted.rows]
        self._repeats = on_device(repeats, device, torch.float32) if max(repeats) > 1 else None
        self._biases: dict[int, Tensor] = {}

        per_position = max(batch * channels, len(rows) * attended.heads * self._filled_tokens)
        chunk = CHUNK_ELEMENTS * CHUNK_FACTOR.get(device.type, CHUNK_FACTOR["other"])
        self._positions_at_once = max(1, chunk // per_position)
        self.is_alone = self._has_kernel = self._positions_at_once < positions or self._tokens > MANY_TOKENS
        self.layers_at_once = max(1, chunk // (per_position * positions))
        self.query_bytes = batch * positions * channels * attended.query.element_size()
        self.joined_bytes = self.query_bytes + batch * self._tokens * channels * attended.query.element_size()

    def parts(self, query: Tensor, keys: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What a layer attended with, each [row, place, head * channel]: no copies.

        Args: query, keys: shaped so, or [row, place, head, channel].
        """
        return (query, *keys) if self._is_flat else tuple(part.flatten(2) for part in (query, *keys))

    def joined(self, query: Tensor, keys: Sequence[Tensor]) -> Tensor:
        """The same behind each other, as a copy: the model may change its own afterwards."""
        return torch.cat(self.parts(query, keys), dim=1)

    def bias(self, mask: Tensor | None) -> Tensor | None:
        """What a layer's mask adds to the scores of the wanted rows; a copy, which its model may change afterwards.

        Args: mask: as `Attended` has it.

        Returns:
            [row, head or 1, position or 1, token], float32.
        """
        if mask is None:
            return None
        chosen = mask.expand(max(len(mask), 1 + self._last_row), *mask.shape[1:]).index_select(0, self._own_rows)
        if chosen.dtype is torch.bool:
            found = torch.zeros(chosen.shape, device=chosen.device).masked_fill_(~chosen, -torch.inf)
        else:
            found = chosen.to(torch.float32, copy=True)
        if self._probed:
            found = functional.pad(found, (0, self._probed))
            if self._repeats is not None:
                found[..., self._own_tokens :] = self._repeats.log()[:, None, None, None]
        return found

    def wanted_rows(self, joined: Tensor) -> Tensor:
        """[row, layer * place, head * channel], without rows between those that are wanted.

        Args: joined: of each layer the queries, and its keys behind them where they were not kept.
        """
        return joined if self._chosen is None else joined.index_select(0, self._chosen)

    def queries(self, layers: int, joined: Tensor) -> Tensor:
        """Those in `wanted_rows` of some layers, as a view: [layer, row, head, position, channel]."""
        return by_head(joined, layers, self._heads, self._rows, range(self._positions))

    def keys(self, layers: int, joined: Tensor) -> Tensor:
        """The same of the keys: [layer, row, head, token, channel]."""
        places = range(self._positions, self._positions + self._tokens)
        return by_head(joined, layers, self._heads, self._rows, places)

    def block(
        self, layers: tuple[str, ...], query: Tensor, key: Tensor, biases: Sequence[Tensor], scratch: Scratch
    ) -> Block:
        """What some layers give.

        Args:
            query: [matrix, position, channel], float32, layer after layer.
            key: [matrix, channel, token], float32, filled up.
            biases: `bias` of each, if there is any.
            scratch: memory for the probabilities.
        """
        bias = self._bias_of(len(layers))
        if biases:
            bias = functional.pad(self._flat(torch.stack(list(biases))), (0, self._filled_tokens - self._tokens))
        at_once = self._positions
        if self._is_on_processor:
            at_once = max(1, CACHED_ELEMENTS // (query.shape[0] * self._filled_tokens))
        size, parts, is_finite = (len(layers), len(self._rows), self._heads), [], True
        for start in range(0, self._positions, at_once):
            chosen, own = query, bias
            if at_once < self._positions:
                chosen = query[:, start : start + at_once]
                own = bias[:, start : start + at_once] if bias.dim() == 3 and bias.shape[1] > 1 else bias
            shares, are_finite = self._wanted_shares.of(size, chosen, key, self._scale, own, scratch)
            is_finite &= are_finite
            parts.append(self._sums(shares, self._columns_in_span, self._details_in_span))
        return Block(self._legend, layers, *_together(parts), is_finite)

    def block_alone(self, layer: str, query: Tensor, keys: Sequence[Tensor], bias: Tensor | None) -> Block:
        """What one layer gives.

        Args: bias: as `bias` gives it.
        """
        parts = self._wanted_parts(query, keys, bias) if self._has_kernel else None
        if parts is None:
            parts = self._whole_parts(query, keys, bias)
        return Block(self._legend, (layer,), *_together(parts))

    def _wanted_parts(
        self, query: Tensor, keys: Sequence[Tensor], bias: Tensor | None
    ) -> list[tuple[Tensor, Tensor | None]] | None:
        """`_sums` of some positions after the others, of the wanted columns only; None where no kernel helps."""
        queries, *own = (self._heads_first(part) for part in (query, *keys))
        probe = in_float32(own.pop()).flatten(0, 1).transpose(-1, -2) if self._probed else None
        key = own[0] if len(own) == 1 else torch.cat(own, dim=2)
        if bias is not None:
            bias = bias[: self._own_rows.shape[0], ..., : key.shape[2]]
        divisor = log_sum_exp(queries, key, self._scale, bias)
        if divisor is None:
            self._has_kernel = False
            return None
        columns = self._own_columns
        offset = divisor.neg()[..., None]
        if bias is not None:
            offset = offset + bias.index_select(-1, columns)
        chosen = in_float32(key.index_select(2, columns)).flatten(0, 1).transpose(-1, -2)
        per_position = chosen.shape[0] * max(queries.shape[-1], columns.shape[0] + self._probed)
        at_once = max(1, CHUNK_ELEMENTS // per_position)
        pieces = [(queries, offset, divisor)]
        if at_once < queries.shape[2]:
            pieces = list(zip(*(each.split(at_once, dim=2) for each in pieces[0])))
        parts = []
        for rows, minus, whole in pieces:
            part = in_float32(rows).flatten(0, 1)
            found = wanted_probabilities(part, chosen, self._scale, minus.flatten(0, 1))
            if probe is not None:
                found = torch.cat([found, self._of_probe(part, probe, whole.flatten(0, 1))], dim=-1)
            parts.append(self._sums(self._of_one(found), None, self._detail_places))
        return parts

    def _of_probe(self, query: Tensor, probe: Tensor, divisor: Tensor) -> Tensor:
        """Shares of the probe's columns, as the whole softmax has them.

        Args:
            query, probe: [matrix, position, channel] and [matrix, channel, token], float32.
            divisor: [matrix, position], logarithm, of the prompt's own keys.

        Returns:
            [matrix, position, column].
        """
        weight = self._nothing
        if self._repeats is not None:
            weight = self._repeats.log().repeat_interleave(self._heads)[:, None, None]
        with in_full_precision(query.device.type):
            scores = torch.baddbmm(weight, query, probe, alpha=self._scale)
        divisor = torch.logaddexp(divisor[..., None], scores.logsumexp(-1, keepdim=True))
        return scores.sub_(divisor).exp_()

    def _heads_first(self, tensor: Tensor) -> Tensor:
        """Of the wanted rows, [row, head, place, channel], as a view where all of them are.

        Args: tensor: [row, place, head * channel] or [row, place, head, channel].
        """
        chosen = tensor if tensor.shape[0] == self._own_rows.shape[0] else tensor.index_select(0, self._own_rows)
        by_head = chosen.unflatten(-1, (self._heads, -1)) if chosen.dim() == 3 else chosen
        return by_head.transpose(1, 2)

    def _whole_parts(
        self, query: Tensor, keys: Sequence[Tensor], bias: Tensor | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """`_sums` of some positions after the others, of which all columns are made."""
        key = self._of_heads(torch.cat(list(keys), dim=1)).transpose(-1, -2)
        parts, start = [], 0
        for part in query.split(self._positions_at_once, dim=1):
            own = self._bias_of(1)[..., : self._tokens]
            if bias is not None:
                own = self._flat(bias[None] if bias.shape[2] == 1 else bias[None, :, :, start : start + part.shape[1]])
            found = probabilities(self._of_heads(part), key, self._scale, own)
            shares = self._wanted_shares.of_softmax(self._of_one(found))
            parts.append(self._sums(shares, self._columns_in_span, self._details_in_span))
            start += part.shape[1]
        return parts

    def _of_heads(self, tensor: Tensor) -> Tensor:
        """[row, place, head * channel] or [row, place, head, channel] to [matrix, place, channel] in float32.

        A matrix is of one wanted row and one head.
        """
        chosen = tensor.index_select(0, self._own_rows)
        by_head = chosen.unflatten(-1, (self._heads, -1)) if chosen.dim() == 3 else chosen
        return by_head.transpose(1, 2).to(torch.float32).flatten(0, 1)

    def _flat(self, bias: Tensor) -> Tensor:
        """[layer, row, head or 1, position or 1, token] to [matrix, position or 1, token]."""
        return bias.expand(-1, -1, self._heads, -1, -1).flatten(0, 2)

    def _of_one(self, found: Tensor) -> Tensor:
        """[matrix, position, token] of one layer, with axes for layer, row and head."""
        return found.view(1, -1, self._heads, *found.shape[1:])

    def _sums(self, shares: Tensor, columns: Tensor | None, details: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[layer, row, position, column] of the wanted columns, and the details [layer, row, head, position, column].

        Args:
            shares: [layer, row, head, position, column].
            columns: where the wanted ones stand; None where there are no others.
            details: where those of details stand; None where there are none.
        """
        sums = shares.sum(dim=2)
        detail = None
        if details is not None:
            chosen = shares if self._by_head else sums[:, :, None]
            detail = chosen.index_select(-1, details)
        if columns is not None:
            sums = sums.index_select(-1, columns)
        if self._repeats is not None:
            sums[..., : sums.shape[-1] - self._probed].mul_(self._repeats[:, None, None])
            if detail is not None:
                detail.mul_(self._repeats[:, None, None, None])
        return sums, detail

    def _bias_of(self, layers: int) -> Tensor:
        """What is added to the scores where there is no mask: [matrix, 1, token] of filled up keys, or `_nothing`."""
        if not self._probed or self._repeats is None:
            return self._nothing
        if layers not in self._biases:
            bias = self._nothing.new_zeros(layers, len(self._rows), self._heads, 1, self._filled_tokens)
            bias[..., self._own_tokens : self._tokens] = self._repeats.log()[:, None, None, None]
            self._biases[layers] = bias.flatten(0, 2)
        return self._biases[layers]


def _together(parts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Sums and details of some positions after the others, as those of all."""
    sums, detail = parts[0]
    if len(parts) > 1:
        details = [detail for _, detail in parts if detail is not None]
        sums = torch.cat([sums for sums, _ in parts], dim=-2)
        detail = torch.cat(details, dim=-2) if details else None
    return sums, detail


def _shares(
    wanted: Wanted, probed: int, first_column: int, tokens: int
) -> tuple[tuple[Share, ...], tuple[int, ...], tuple[int, ...]]:
    """Which text stands where in a block, and the columns along the keys that its last axes hold.

    Args:
        first_column: where the texts' column 0 stands along the keys.
        tokens: number of the prompt's own keys; the probe's stand behind them.
    """
    needed = 1 + max(max(text.columns) for _, text in wanted.rows)
    if first_column + needed > tokens:
        raise ShapeError(
            f"expected at least {needed} context columns for the prompt's tokens, "
            f"got {tokens - first_column}: the context was not made from this prompt"
        )
    probe = tuple(range(tokens, tokens + probed))
    own = {first_column + column for _, text in wanted.rows for column in text.columns}
    detailed = {first_column + column for _, text in wanted.rows for column in text.detail_columns}
    columns = (*sorted(own), *probe)
    details = tuple(sorted(detailed)) if wanted.with_details else ()

    def share(text: TracedText, row: int) -> Share:
        places = tuple(columns.index(first_column + column) for column in text.columns)
        detail_places = tuple(details.index(first_column + column) for column in text.detail_columns if details)
        return Share(text, row, places, detail_places)

    shares = [share(text, row) for row, (_, text) in enumerate(wanted.rows)]
    for row, image in first_rows({row: text for row, (_, text) in enumerate(wanted.rows)}) if probe else ():
        traced = TracedText(TextKey(image, "probe"), tuple(range(len(probe))))
        shares.append(Share(traced, row, tuple(columns.index(place) for place in probe)))
    return tuple(shares), columns, details
