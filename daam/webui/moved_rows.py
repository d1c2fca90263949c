"""Finds the rows of a denoiser call that another extension moved: by the latent whose row it is, and by its text.

Regional Prompter's Latent mode does so with batches, after we were told of the call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from daam.errors import TraceError
from daam.webui.hosts import Row


class MovedRows:
    """Decides once for each kind of call, and asks at the end whether the later calls were alike.

    Negative rows stay where the host puts them in every extension known: there the latents of the pictures are read.
    """

    def __init__(self) -> None:
        self._known: dict[object, list[int]] = {}
        self._answers: list[Tensor] = []

    def order(self, rows: Sequence[Row], latents: Tensor, conditioning: Tensor) -> list[int]:
        """For each row the number of the row of the host that really stands there.

        Args:
            rows: of the denoiser call, as the host orders them.
            latents: [row, channel, height, width].
            conditioning: [positive row, column, channel].
        """
        numbers = list(range(len(rows)))
        positive = sum(row.side == "positive" for row in rows)
        pictures = {row.image: number for number, row in enumerate(rows) if row.side == "negative"}
        if positive < 2 or positive == len(rows) or not len(latents) == len(rows) >= len(conditioning) == positive:
            return numbers
        same = torch.stack(
            [(latents[:positive] == latents[number]).flatten(1).all(dim=1) for number in pictures.values()], dim=1
        )
        key = (latents.shape, conditioning.shape, tuple(rows))
        if key not in self._known:
            found = self._decide(rows[:positive], list(pictures), same.tolist(), _equal(rows, conditioning))
            self._known[key] = found + numbers[positive:]
        else:
            columns = [list(pictures).index(rows[number].image) for number in self._known[key][:positive]]
            self._answers.append(same[range(positive), columns].all() | ~same.any())
        return self._known[key]

    def check(self) -> None:
        """
        Raises:
            TraceError: the rows of later calls were moved in another way than those of the first.
        """
        if self._answers and not bool(torch.stack(self._answers).all()):
            raise TraceError(
                "another extension moves the model's rows from one place to another, in some steps in another way "
                "than in others; whose attention came when cannot be told afterwards"
            )

    @staticmethod
    def _decide(
        rows: Sequence[Row], pictures: Sequence[int], same: list[list[bool]], equal: list[list[bool]]
    ) -> list[int]:
        """Each row goes to a text of its picture: to the one that it holds; where none or several are, it stays."""
        free = set(range(len(rows)))
        found = []
        for number, answers in enumerate(same):
            own = {image for image, is_same in zip(pictures, answers) if is_same} or {rows[number].image}
            fitting = [other for other in free if rows[other].image in own]
            if not fitting:
                raise TraceError(
                    "another extension gives the model other rows than the WebUI made: more of one picture than it has"
                )
            found.append(min(fitting, key=lambda other: (not equal[number][other], other != number, other)))
            free.discard(found[-1])
        return found


def _equal(rows: Sequence[Row], conditioning: Tensor) -> list[list[bool]]:
    """Whether each row is conditioned by each positive row's text; False where that is not known."""
    texts = [row.context for row in rows[: len(conditioning)] if row.context is not None]
    if len(texts) < len(conditioning) or any(text.shape[-1] != conditioning.shape[-1] for text in texts):
        return [[False] * len(conditioning) for _ in conditioning]
    columns = min(conditioning.shape[1], *(len(text) for text in texts))
    given = conditioning[:, :columns]
    found = [(given == text[:columns].to(given)).flatten(1).all(dim=1) for text in texts]
    answer: list[list[bool]] = torch.stack(found, dim=1).tolist()
    return answer
