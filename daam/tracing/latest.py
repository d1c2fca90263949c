"""What the model attended to the picture itself with in its latest call: references, within a budget.

Only the finest layers count, and only rows of the positive prompt. Nothing is computed before the end, when maps are
carried along it (`daam.tracing.refining`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from daam.errors import TraceError
from daam.tracing.families.base import SelfAttended
from daam.tracing.plan import version_of
from daam.tracing.refining import SelfAttention

PartRows = Mapping[int, Mapping[int, int]]
"""Image to the number of an AND part to the call's row that the part's positive text conditions."""


@dataclass(frozen=True)
class Budget:
    """What refined maps may cost.

    Attributes:
        bytes: of queries and keys that are held on the model's device. Layers that ran first are let go.
        scores: of self-attention that maps are carried along at the end, on a processor and on any other device.
        is_all_or_nothing: rather no refined map than one from a part of the layers.
    """

    bytes: int
    scores: Mapping[str, float] = field(default_factory=dict)
    is_all_or_nothing: bool = False

    def allows(self, scores: float, device: str) -> bool:
        return scores <= self.scores.get(device, self.scores.get("other", float("inf")))


ASKED = Budget(bytes=256 * 2**20)
"""Where the user wants refined maps: seconds do not matter."""
BY_THE_WAY = Budget(64 * 2**20, {"cpu": 1e8, "other": 1.2e10}, is_all_or_nothing=True)
"""Where they are only at hand for a switch in the viewer: what takes well under a second, and little memory."""


@dataclass(frozen=True)
class _Kept:
    """One layer of one call; several images may have their rows in it."""

    attended: SelfAttended
    versions: tuple[int, int]
    bytes: int


@dataclass(frozen=True)
class LatestOfImage:
    """What one picture's maps are refined along.

    Attributes:
        size: (height, width) of the layers' positions.
        layers: of each AND part's row, by the part's number.
        left_out: how many layers the budget did not take.
    """

    size: tuple[int, int]
    layers: Mapping[int, list[SelfAttention]]
    left_out: int = 0

    def of(self, part: int) -> list[SelfAttention]:
        """The layers of a part's own row; the first row's where the part was not there in the end."""
        return self.layers[part] if part in self.layers else next(iter(self.layers.values()))


class LatestSelfAttention:
    """One model's finest self-attention in the latest call that each picture had a row in. Never raises from a hook."""

    def __init__(self, budget: Budget, replaced: Callable[[], str | None] = lambda: None, refusal: str | None = None):
        """
        Args:
            replaced: gives the name of a layer that attends in a way of its own; asked once, in the first call.
            refusal: why there can be nothing to see, where that is known.
        """
        self._budget, self._refusal = budget, refusal
        self._find_replaced = replaced
        self._replaced: str | None = None
        self._is_begun = False
        self._parts: PartRows = {}
        self._call_rows = 0
        self._call_area = 0
        self._size = (0, 0)
        self._kept: dict[str, dict[int, _Kept]] = {}
        self._rows: dict[int, Mapping[int, int]] = {}
        self._left_out: set[str] = set()
        self._refused: dict[str, str] = {}

    def begin_call(self, rows: int, parts: PartRows) -> None:
        """Args: rows: of the call, whatever stands behind them."""
        self._parts, self._call_rows, self._call_area = parts, rows, 0
        if not parts:
            return
        self._refused.clear()
        if not self._is_begun:
            self._is_begun, self._replaced = True, self._find_replaced()

    def see(self, attended: SelfAttended) -> None:
        """Holds what a layer attended with in place of what it did before."""
        if not self._parts:
            return
        height, width = attended.size
        reason = self._why_refused(attended)
        if reason is not None:
            self._refused[attended.layer] = reason
            return
        self._refused.pop(attended.layer, None)
        if height * width < self._call_area or (self._budget.is_all_or_nothing and self._left_out):
            return
        if attended.size != self._size or self._call_area == 0:
            self._begin_size(attended.size)
        if attended.layer not in self._left_out:
            self._hold(attended)

    def forget(self) -> None:
        """Lets go of everything."""
        self._parts = {}
        self._kept.clear()
        self._rows.clear()

    def let_go(self, image: int) -> None:
        """Lets go of one picture's, which will not be asked for again."""
        self._rows.pop(image, None)
        for layers in self._kept.values():
            layers.pop(image, None)

    def of(self, image: int) -> LatestOfImage:
        """What a picture's maps are refined along.

        Raises:
            TraceError: there is nothing that they can be; the text says why.
        """
        if self._refusal is not None:
            raise TraceError(self._refusal)
        if self._replaced is not None:
            raise TraceError(_REPLACED.format(self._replaced))
        if self._refused:
            raise TraceError(next(iter(self._refused.values())))
        kept = [layers[image] for layers in self._kept.values() if image in layers]
        if not kept and self._left_out:
            raise TraceError(
                f"the self-attention of one layer at {self._size[0]}x{self._size[1]} takes more than the "
                f"{self._budget.bytes // 2**20} MiB that refined maps may hold; a smaller batch or picture fits"
            )
        if not kept:
            raise TraceError("no self-attention of the picture was seen along which maps could be refined")
        for each in kept:
            if each.versions != _versions(each.attended):
                raise TraceError(f"something changed the query or the key of {each.attended.layer} after it was made")
        found = {part: [_row(each.attended, row) for each in kept] for part, row in self._rows[image].items()}
        scores = sum(layer.scores for layers in found.values() for layer in layers)
        if not self._budget.allows(scores, kept[0].attended.query.device.type):
            raise TraceError(
                "refining maps of this size takes long on this device, and was not asked for: the map “refined” in a "
                'panel, --map refined or keep="refined" does'
            )
        return LatestOfImage(self._size, found, len(self._left_out))

    def _why_refused(self, attended: SelfAttended) -> str | None:
        (height, width), (rows, positions) = attended.size, attended.query.shape[:2]
        if positions != height * width:
            return (
                f"{attended.layer} attends from {positions} positions that are not its grid of {height}x{width}, as "
                "with token merging or hypertile; without it maps can be refined"
            )
        if attended.key.shape[1] != positions or rows != self._call_rows or len(attended.key) != rows:
            return _REPLACED.format(attended.layer)
        return None

    def _begin_size(self, size: tuple[int, int]) -> None:
        if size != self._size:
            self._kept.clear()
            self._left_out.clear()
            self._size = size
        self._call_area = size[0] * size[1]

    def _hold(self, attended: SelfAttended) -> None:
        plain = attended._replace(query=_without_graph(attended.query), key=_without_graph(attended.key))
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in plain[1:3]}
        kept = _Kept(plain, _versions(plain), sum(storages.values()))
        self._kept.setdefault(attended.layer, {}).update(dict.fromkeys(self._parts, kept))
        self._rows.update(self._parts)
        while self.held_bytes > self._budget.bytes and self._kept:
            first = next(iter(self._kept))
            del self._kept[first]
            self._left_out.add(first)
            if self._budget.is_all_or_nothing:
                self._kept.clear()

    @property
    def held_bytes(self) -> int:
        """Of queries and keys, with all rows of the calls that they come from: rows of one tensor are not apart."""
        return sum({id(kept): kept.bytes for layers in self._kept.values() for kept in layers.values()}.values())


_REPLACED = (
    "something does the self-attention of {} in its own way, as perturbed-attention and self-attention guidance and "
    "references do, so that maps cannot be refined along it"
)


def _without_graph(tensor: Tensor) -> Tensor:
    """The same memory. Asked first, since detaching is an operator, of which a call must not have one more."""
    return tensor.detach() if tensor.requires_grad else tensor


def _versions(attended: SelfAttended) -> tuple[int, int]:
    return version_of(attended.query), version_of(attended.key)


def _row(attended: SelfAttended, row: int) -> SelfAttention:
    query: Tensor = attended.query[row]
    scale = (query.shape[-1] // attended.heads) ** -0.5 if attended.scale is None else attended.scale
    return SelfAttention(query, attended.key[row], attended.heads, scale)
