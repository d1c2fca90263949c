"""Recognises which text stands behind a row of a model call by what conditions the row: the tensor itself.

Rows are not counted and their order is not taken for granted. Knows no host: who encodes texts tells what came of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from daam.errors import TraceError
from daam.tracing.on_device import on_device
from daam.tracing.plan import Conditioning, Side, version_of


class Conditioned(NamedTuple):
    """A text of a picture: what a row may stand for. `entry` is the number of the schedule entry."""

    image: int
    side: Side
    entry: int = 0


class ConditioningBook:
    """The contexts that were encoded, and what was found of each tensor that the model got.

    A tensor is compared once, when it is first seen. On an accelerator only the first call of a generation waits for
    the answer; later tensors of a known shape are compared there and then asked about at the end (`check`).
    """

    def __init__(self) -> None:
        self._known: list[tuple[Conditioned, Tensor]] = []
        self._decided: list[tuple[Conditioning, tuple[int, ...], list[list[Conditioned]]]] = []
        self._pending: list[Tensor] = []

    @property
    def is_empty(self) -> bool:
        return not self._known

    def learn(self, text: Conditioned, context: Tensor) -> None:
        """Args: context: [column, channel], as the model will get it."""
        self._known.append((text, context))

    def repeated(self, times: int) -> ConditioningBook:
        """The same contexts for pictures of which there are several for each text, one behind the other."""
        book = ConditioningBook()
        for text, context in self._known:
            for number in range(times):
                book.learn(text._replace(image=text.image * times + number), context)
        return book

    def candidates(self, conditioning: Conditioning) -> list[list[Conditioned]]:
        """For each row the texts that it was made from; several where texts are alike.

        Args: conditioning: [row, column, channel], or [column, channel] for each row.
        """
        versions = _versions(conditioning)
        for earlier, version, found in self._decided:
            if _are_same(earlier, conditioning) and version == versions:
                return found
        alike = next((entry for entry in self._decided if _shapes(entry[0]) == _shapes(conditioning)), None)
        if alike is not None and conditioning[0].device.type != "cpu":
            self._pending += [(row == known).all() for row, known in zip(conditioning, alike[0])]
            found = alike[2]
        else:
            found = [self._compare(row) for row in conditioning]
        self._decided.append((conditioning, versions, found))
        return found

    def check(self) -> None:
        """Asks what was put off until the end.

        Raises:
            TraceError: the texts were changed on the way.
        """
        if self._pending and not bool(torch.stack(self._pending).all()):
            raise TraceError(
                "the model's conditioning was changed in the middle of the sampling, to a text that was not encoded "
                "from the prompt; whose attention came when cannot be told afterwards"
            )

    def _compare(self, row: Tensor) -> list[Conditioned]:
        fitting = [(text, context) for text, context in self._known if context.shape == row.shape]
        if not fitting:
            return []
        contexts = torch.stack([context.to(row) for _, context in fitting])
        equal = (contexts == row).flatten(1).all(dim=1)
        return [text for (text, _), is_equal in zip(fitting, equal.tolist()) if is_equal]


def _are_same(first: Conditioning, second: Conditioning) -> bool:
    """Whether they are the very tensors."""
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        return first is second
    return len(first) == len(second) and all(one is other for one, other in zip(first, second))


def _shapes(conditioning: Conditioning) -> list[torch.Size]:
    return [row.shape for row in conditioning]


def _versions(conditioning: Conditioning) -> tuple[int, ...]:
    rows = [conditioning] if isinstance(conditioning, Tensor) else conditioning
    return tuple(version_of(row) for row in rows)


def assign(
    candidates: Sequence[Sequence[Conditioned]],
    images: int,
    entry: int,
    taken: Collection[tuple[int, Side]] = (),
) -> list[Conditioned | None]:
    """One text for each row; None for rows that are made from none, or again from one that has its row.

    Of rows made from one text the first are the pictures' own, in their order: guidance by a perturbed pass
    (PAG, SEG) puts its rows behind. Where both prompts are alike the negative rows come first, as in all pipelines.

    Args:
        images: number of pictures.
        entry: of the schedule, where texts of several entries are alike.
        taken: (image, side) of texts that have their rows already.
    """
    sides: tuple[Side, ...] = ("negative", "positive") if len(candidates) > images else ("positive", "negative")
    done = set(taken)
    found: list[Conditioned | None] = []
    for texts in candidates:
        free = [text for text in texts if (text.image, text.side) not in done]
        free.sort(key=lambda text: (sides.index(text.side), text.image, text.entry != entry, text.entry))
        chosen = free[0] if free else None
        if chosen is not None:
            done.add((chosen.image, chosen.side))
        found.append(chosen)
    return found


class RowWitness:
    """Watches that rows are conditioned by the texts that a host says stand behind them; asked once at the end.

    A row must be nearer to its own text than to any other: extensions may change what they condition with, but a row
    that is nearest to another's text was moved, and one that is nearest to a text that is not of the prompt shows that
    one's attention. Compared on the device, without waiting for the answer.
    """

    def __init__(self) -> None:
        self._is_own: list[Tensor] = []
        self._is_of_prompt: list[Tensor] = []

    def see(
        self,
        conditioning: Tensor,
        own: Sequence[Tensor | None],
        every: Sequence[Tensor],
        foreign: Sequence[Tensor] = (),
    ) -> None:
        """Looks at the rows of one model call.

        Args:
            conditioning: [row, column, channel], as the model got it; padding may stand behind a text's columns.
            own: what was encoded for each row, [column, channel]; None where nothing is known.
            every: what was encoded for all rows of the step.
            foreign: what else was encoded, of texts that are not of the prompt.
        """
        for others, answers in ((every, self._is_own), (foreign, self._is_of_prompt)):
            answers += _are_nearest(conditioning, own, others)

    def check(self) -> None:
        """
        Raises:
            TraceError: a row was conditioned by another row's text, or by one that is not of the prompt.
        """
        if self._is_own and not bool(torch.stack(self._is_own).all()):
            raise TraceError(
                "another extension moves what conditions the model's rows from one to another (Regional Prompter's "
                "Latent mode does so), so that a map would show another text's attention"
            )
        if self._is_of_prompt and not bool(torch.stack(self._is_of_prompt).all()):
            raise TraceError(
                "another extension conditions the model with a text that is not the prompt (the regions of Tiled "
                "Diffusion do so), so that a map would show another text's attention"
            )


def _are_nearest(conditioning: Tensor, own: Sequence[Tensor | None], others: Sequence[Tensor]) -> list[Tensor]:
    """Whether all rows with a text of their own are as near to it as to any other; nothing where there is no other."""
    rows = [row for row, text in enumerate(own) if text is not None and text.shape[-1] == conditioning.shape[-1]]
    chosen = [text for text in (own[row] for row in rows) if text is not None]
    fitting = [text for text in others if text.shape[-1] == conditioning.shape[-1]]
    texts = {id(text): text for text in [*chosen, *fitting]}
    if not fitting or not rows or len(texts) < 2:
        return []
    columns = min(conditioning.shape[1], *(len(text) for text in texts.values()))
    given = conditioning[:, :columns].index_select(0, on_device(rows, conditioning.device)).float()
    distances = torch.stack([(given - text[:columns].to(given)).abs().mean(dim=(1, 2)) for text in texts.values()], 1)
    places = [list(texts).index(id(text)) for text in chosen]
    own_distances = distances.gather(1, on_device(places, distances.device)[:, None])[:, 0]
    return [(own_distances <= distances.amin(dim=1)).all()]
