"""Which rows of the model's call a layer ran with, told by what its keys were made of. Knows no host and no prompt.

Ordinarily a layer runs once in a call, with all of its rows. Extensions run it twice, with some of them each (NegPiP),
once more with rows of their own (FABRIC's caching pass), or for every region with a part of the text (Regional
Prompter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from daam.errors import TraceError


class LayerRun(NamedTuple):
    """One run of a layer.

    Attributes:
        rows: number of the call's row behind each row of the run; None where it is none of the call's.
        is_recognised: the rows were told by their contents, or are the very tensor that the call was given.
    """

    rows: tuple[int | None, ...]
    is_recognised: bool


class _Match(NamedTuple):
    """Attributes: equal: for each row of a run the call's rows with its contents; offset: of its first column."""

    equal: tuple[tuple[int, ...], ...]
    offset: int


class LayerRuns:
    """Recognises the runs of one model call after the other.

    A tensor that is not the call's own is compared with it. On an accelerator only the first such tensor of a place
    (layer, number of the run, shapes) waits for the answer; for later ones the same is taken to hold, which is
    compared there and asked about at the end (`check`).

    Attributes: whole: the run with all rows of the call.
    """

    def __init__(self) -> None:
        self._conditioning: Tensor | None = None
        self._call_rows = 0
        self.whole = LayerRun((), True)
        self._ran: dict[str, list[int]] = {}
        self._runs: dict[str, int] = {}
        self._seen: list[tuple[Tensor, _Match | None]] = []
        self._known: dict[tuple[object, ...], _Match | None] = {}
        self._pending: list[Tensor] = []

    def begin_call(self, rows: int, conditioning: Tensor | None) -> None:
        """Args: rows: of the call; conditioning: what conditions them, [row, column, channel]."""
        self.end_call()
        self._call_rows, self._conditioning = rows, conditioning
        self.whole = LayerRun(tuple(range(rows)), True)

    def end_call(self) -> None:
        """Lets go of the call's tensors."""
        self._conditioning = None
        self._ran.clear()
        self._runs.clear()
        self._seen.clear()

    def recognise(self, layer: str, context: Tensor | None, rows: int) -> LayerRun:
        """The rows of the next run of a layer.

        Args:
            context: what its keys were made of, [row, column, channel]; None where the family does not say.
            rows: of its query.

        Raises:
            TraceError: it attends to a part of the text only.
        """
        number = self.count(layer)
        given = self._conditioning
        if context is given and given is not None and rows == self._call_rows:
            return self.whole
        every = self.whole.rows if rows == self._call_rows else (None,) * rows
        if context is None or given is None or context is given:
            return LayerRun(every, context is not None)
        match = self._match((layer, number), context, given)
        if match is None:  # something made it anew: a hypernetwork, say, or a projection of the model's own
            return LayerRun(every, False)
        if match.offset + context.shape[1] < given.shape[1]:
            raise TraceError(
                "another extension lets each region of the picture attend to its own part of the prompt (Regional "
                "Prompter's Attention and Prompt modes do so), so that no word has a map of the whole picture"
            )
        ran = self._ran.setdefault(layer, [])
        found = _assigned(match, ran)
        ran += [row for row in found if row is not None]
        return LayerRun(found, True)

    def count(self, layer: str) -> int:
        """The number of a layer's next run, from 0."""
        number = self._runs[layer] = self._runs.get(layer, -1) + 1
        return number

    def check(self) -> None:
        """Asks what was put off until the end.

        Raises:
            TraceError: the rows were not those that they were taken for.
        """
        if self._pending and not bool(torch.stack(self._pending).all()):
            raise TraceError(
                "another extension changed in the middle of the sampling which rows the model's layers run with; "
                "whose attention came when cannot be told afterwards"
            )

    def _match(self, place: tuple[str, int], context: Tensor, given: Tensor) -> _Match | None:
        """Compares a tensor once in a call: most layers get the same one."""
        for tensor, match in self._seen:
            if tensor is context:
                return match
        key = (*place, context.shape, given.shape)
        if context.device.type == "cpu" or key not in self._known:
            match = self._known[key] = _compare(context, given)
        else:
            match = self._known[key]
            if match is not None:
                self._pending.append(_holds(match, context, given))
        self._seen.append((context, match))
        return match


def _compare(context: Tensor, given: Tensor) -> _Match | None:
    """Where the rows of a context stand in what the call was given; None where none of them does.

    A mark may stand before the text's columns in the call (ControlNet's), words of the extension's own behind them in
    the layer (NegPiP's).
    """
    if context.dim() != 3 or given.dim() != 3 or context.shape[-1] != given.shape[-1]:
        return None
    for offset in range(max(0, given.shape[1] - context.shape[1]) + 1):
        columns = min(context.shape[1], given.shape[1] - offset)
        part = given[:, offset : offset + columns].to(context)
        equal = torch.stack([(context[:, :columns] == row).flatten(1).all(dim=1) for row in part], dim=1)
        rows = tuple(tuple(row for row, is_equal in enumerate(answers) if is_equal) for answers in equal.tolist())
        if any(rows):
            return _Match(rows, offset)
    return None


def _assigned(match: _Match, ran: Sequence[int]) -> tuple[int | None, ...]:
    """One row of the call for each of the run; of equal ones those that the layer has not run with come first."""
    taken: set[int] = set()
    found: list[int | None] = []
    for rows in match.equal:
        free = sorted((row for row in rows if row not in taken), key=lambda row: (ran.count(row), row))
        row = free[0] if free else None
        found.append(row)
        if row is not None:
            taken.add(row)
    return tuple(found)


def _holds(match: _Match, context: Tensor, given: Tensor) -> Tensor:
    """Whether the rows of a later context stand where those of the first one stood, as a tensor on the device."""
    columns = min(context.shape[1], given.shape[1] - match.offset)
    pairs = [(own, row) for own, rows in enumerate(match.equal) for row in rows]
    mine = torch.stack([context[own, :columns] for own, _ in pairs])
    theirs = torch.stack([given[row, match.offset : match.offset + columns] for _, row in pairs]).to(context)
    return (mine == theirs).all()
