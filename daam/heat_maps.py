"""Heat maps of one picture, made from its trace: one map for each term, at the picture's size."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .errors import NotKeptError, SettingError, TermError
from .pictures.overlay import Picture, overlay
from .prompt.table import PromptTable
from .scales import apply_scale
from .prompt.words import split_words
from .terms import Place, Term, every_word, find_term, parse_terms, word_columns
from .tracing.accumulator import TextMaps
from .tracing.image_trace import ImageTrace
from .tracing.plan import Side

Size = tuple[int, int]


@dataclass(frozen=True)
class Selection:
    """Which part of the trace a heat map is made from; None stands for all.

    Attributes:
        layers: patterns of layer names with * and ?.
        resolutions: (height, width) of the layers' maps.
        heads: numbers of heads, from 0; needs keep="heads".
        steps: [first, last] model calls, from 0, inclusive; needs keep="steps".
    """

    layers: tuple[str, ...] | None = None
    resolutions: tuple[Size, ...] | None = None
    heads: tuple[int, ...] | None = None
    steps: tuple[int, int] | None = None

    def takes_layer(self, name: str, size: Size) -> bool:
        if self.layers is not None and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.layers):
            return False
        return self.resolutions is None or size in self.resolutions


@dataclass(frozen=True)
class HeatMap:
    """One term's heat map.

    Attributes:
        term: what it shows, as given.
        values: [height, width] float32 of the picture's size, not negative: Tang et al. (ACL 2023), D_k: attention
            probabilities of the term's tokens, averaged over these tokens, upscaled bicubically and summed over
            layers, heads and steps.
        places: where the term stands in the prompt.
    """

    term: str
    values: NDArray[np.float32]
    places: tuple[Place, ...]
    _siblings: HeatMaps = field(repr=False, compare=False)

    def to_numpy(self) -> NDArray[np.float32]:
        """A copy of `values`."""
        return self.values.copy()

    def mask(self, threshold: float = 0.4) -> NDArray[np.bool_]:
        """[height, width]: where the map reaches `threshold` (0..1) times its maximum, as in the paper."""
        if not 0 <= threshold <= 1:
            raise SettingError(f"threshold: expected 0..1, got {threshold}")
        highest = self.values.max()
        return self.values >= threshold * highest if highest > 0 else np.zeros(self.values.shape, bool)

    def scaled(self, scale: str = "shared") -> NDArray[np.float32]:
        """[height, width] in 0..1 by a scale of scales.py; "shared" compares with every word of the prompt."""
        return self._siblings.scaled([self.term], scale, among_all_words=True)[0]

    def overlay(
        self, picture: Picture, *, opacity: float = 0.5, colormap: str = "turbo", scale: str = "shared"
    ) -> Image.Image:
        """The map in colours over the picture; opacity 1 shows the map alone."""
        return overlay(picture, self.scaled(scale), opacity=opacity, colormap=colormap)


class HeatMaps(Mapping[str, HeatMap]):
    """The heat maps of one picture: `heat_maps["cute cat"]`. Iterates over the words of the prompt.

    Any term may be asked for; `select` narrows what the maps are made from.
    """

    def __init__(self, trace: ImageTrace, *, side: Side = "positive", selection: Selection | None = None):
        table = trace.table(side)
        if table is None:
            raise TermError(f"this picture has no {side} prompt that was traced")
        self.trace = trace
        self.side: Side = side
        self.table: PromptTable = table
        self.selection = selection or Selection()
        self.words: tuple[Term, ...] = tuple(every_word(table))
        self._maps: dict[str, HeatMap] = {}
        self._all_words: NDArray[np.float32] | None = None
        self._texts = {
            (key.part, key.entry): maps for key, maps in trace.texts.items() if key.side == side and maps.sums
        }

    def __getitem__(self, term: str) -> HeatMap:
        """The map of a term.

        Raises:
            TermError: the term has no map; the text says why.
        """
        if term not in self._maps:
            self._maps[term] = self._make(term)
        return self._maps[term]

    def __iter__(self) -> Iterator[str]:
        return (word.text for word in self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, term: object) -> bool:
        return isinstance(term, str) and self.explain(term) is None

    def explain(self, term: str) -> str | None:
        """Why a term has no map, as one sentence; None when it has one."""
        try:
            self._places(_one_term(term))
        except TermError as error:
            return str(error)
        return None

    @property
    def picture_size(self) -> Size:
        """(height, width) in pixels."""
        return self.trace.picture_size

    @property
    def layers(self) -> dict[str, Size]:
        """The layers that the maps are made from, with the size of their maps."""
        return {
            name: (maps.shape[-2], maps.shape[-1])
            for text in self._texts.values()
            for name, maps in text.sums.items()
            if self.selection.takes_layer(name, (maps.shape[-2], maps.shape[-1]))
        }

    def select(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        resolutions: Sequence[Size] | None = None,
        heads: Sequence[int] | None = None,
        steps: tuple[int, int] | None = None,
    ) -> HeatMaps:
        """The same picture's maps from a part of the trace.

        Args:
            layers: patterns of layer names, such as "up_blocks.*".
            resolutions: sizes of the layers' maps, (height, width).
            heads: numbers of heads, from 0, in each layer.
            steps: first and last model call, from 0, inclusive.

        Raises:
            NotKeptError: heads or steps were not kept.
            SettingError: nothing is left.
        """
        names = (layers,) if isinstance(layers, str) else layers
        chosen = replace(
            self.selection,
            layers=self.selection.layers if names is None else tuple(names),
            resolutions=self.selection.resolutions if resolutions is None else tuple(resolutions),
            heads=self.selection.heads if heads is None else tuple(heads),
            steps=self.selection.steps if steps is None else steps,
        )
        for axis, wanted in (("heads", chosen.heads), ("steps", chosen.steps)):
            if wanted is not None and axis not in self.trace.keep:
                raise NotKeptError(f'{axis} were not kept: trace with `daam.trace(pipe, keep="{axis}")`')
        narrowed = HeatMaps(self.trace, side=self.side, selection=chosen)
        if not narrowed.layers:
            raise SettingError(f"no layer is left: layers={layers}, resolutions={resolutions}; see `heat_maps.layers`")
        return narrowed

    def scaled(
        self, terms: Sequence[str], scale: str = "shared", *, among_all_words: bool = False
    ) -> NDArray[np.float32]:
        """Maps of several terms brought to 0..1, [term, height, width].

        Args:
            scale: a name of `daam.scales.SCALES`.
            among_all_words: let every word of the prompt take part in a shared scale, not only `terms`.
        """
        own = np.stack([self[term].values for term in terms])
        if scale == "shared" and among_all_words:
            others = [self[word].values for word in self]
            return apply_scale(scale, np.concatenate([own, np.stack(others)]), own[0])[: len(own)]
        return apply_scale(scale, own, self.all_words() if scale == "share" else own[0])

    def all_words(self) -> NDArray[np.float32]:
        """[height, width]: the sum of the maps of every word of the prompt."""
        if self._all_words is None:
            total = np.zeros(self.picture_size, np.float32)
            for word in self.words:
                if self.explain(word.text) is None:
                    total += self[word.text].values
            self._all_words = total
        return self._all_words

    def attention_by_column(self) -> dict[tuple[int, int, int], float]:
        """For each (part, entry, column) of a word: its attention, averaged over positions, summed over layers."""
        return {
            (*key, column): sum(float(maps[index].mean()) for maps in self._layer_maps(text).values())
            for key, text in self._texts.items()
            for index, column in enumerate(self._kept_columns(text))
        }

    def _make(self, name: str) -> HeatMap:
        term = _one_term(name)
        places = self._places(term)
        by_size: dict[Size, Tensor] = {}
        for (part, entry), text in self._texts.items():
            columns = [column for place in places if (place.part, place.entry) == (part, entry)
                       for column in place.columns]  # fmt: skip
            if not columns:
                continue
            kept = self._kept_columns(text)
            rows = torch.tensor([kept.index(column) for column in columns])
            for maps in self._layer_maps(text).values():
                size = (maps.shape[-2], maps.shape[-1])
                by_size[size] = by_size.get(size, torch.zeros(size)) + maps[rows].mean(dim=0)
        return HeatMap(name, self._upscale(by_size), tuple(places), self)

    def _upscale(self, by_size: dict[Size, Tensor]) -> NDArray[np.float32]:
        """Upscaling is linear: the sum of the layers of one size is upscaled at once."""
        total = torch.zeros(self.picture_size)
        for maps in by_size.values():
            scaled = functional.interpolate(maps[None, None], self.picture_size, mode="bicubic", align_corners=False)
            total += scaled[0, 0]
        return total.clamp_(min=0).numpy()

    def _uses_details(self) -> bool:
        return self.selection.heads is not None or self.selection.steps is not None

    def _kept_columns(self, text: TextMaps) -> tuple[int, ...]:
        return text.text.detail_columns if self._uses_details() else text.text.columns

    def _layer_maps(self, text: TextMaps) -> dict[str, Tensor]:
        """The selected layers' maps [column, height, width], summed over the selected heads and steps."""
        if not self._uses_details():
            chosen = {name: maps for name, maps in text.sums.items()}
        else:
            chosen = {name: self._sum_details(text, kept) for name, kept in text.details.items()}
        return {
            name: maps
            for name, maps in chosen.items()
            if self.selection.takes_layer(name, (maps.shape[-2], maps.shape[-1]))
        }

    def _sum_details(self, text: TextMaps, kept: list[Tensor]) -> Tensor:
        if self.selection.steps is not None:
            first, last = self.selection.steps
            kept = [maps for step, maps in zip(text.steps, kept) if first <= step <= last]
        if not kept:
            return torch.zeros_like(next(iter(text.details.values()))[0][0])
        total = torch.stack(kept).sum(dim=0)
        heads = self.selection.heads
        return total.sum(dim=0) if heads is None else total[[head for head in heads if head < len(total)]].sum(dim=0)

    def _places(self, term: Term) -> list[Place]:
        """The places of a term that have maps.

        Raises:
            TermError: there is none; the text says why.
        """
        places = find_term(term, self.table)
        if not places:
            raise TermError(self._why_not_found(term))
        active = [place for place in places if (place.part, place.entry) in self._texts]
        if not active:
            entry = self.table.parts[places[0].part].schedule[places[0].entry]
            raise TermError(
                f"{term.text!r} was never active: it stands in the prompt for steps {entry.first_step} to "
                f"{entry.end_at_step}, and {self.trace.calls} ran"
            )
        kept = [
            place
            for place in active
            if set(place.columns) <= set(self._kept_columns(self._texts[place.part, place.entry]))
        ]
        if not kept:
            raise NotKeptError(f"{term.text!r}: steps or heads were not kept for it; name it in `terms` of the trace")
        if not self.layers:
            raise TermError(f"{term.text!r} has no map in the chosen layers")
        return kept

    def _why_not_found(self, term: Term) -> str:
        if term.occurrence is not None and find_term(replace(term, occurrence=None), self.table):
            return f"{term.text!r}: the prompt does not have that many of it"
        other = self.trace.table("negative" if self.side == "positive" else "positive")
        if other is not None and find_term(term, other):
            side = "negative" if self.side == "positive" else "positive"
            return f"{term.text!r} is only in the {side} prompt"
        plain = " ".join(term.words)
        if any(plain in " ".join(split_words(tag.text)) for tag in self.table.tags):
            return f"{term.text!r} is only in an extra-network tag, which is removed before the prompt is encoded"
        if plain in " ".join(split_words(self.table.prompt)).split(" ") or plain in self.table.prompt.lower():
            return self._why_not_encoded(term)
        return f"{term.text!r} is not in the prompt; it has: {', '.join(self) or 'no word'}"

    def _why_not_encoded(self, term: Term) -> str:
        return f"{term.text!r} was typed but is not a whole word of the encoded prompt; that has: {', '.join(self)}"


def _one_term(text: str) -> Term:
    """The term that a text stands for; a comma without quotes is part of no term."""
    terms = parse_terms(text)
    if len(terms) != 1:
        raise TermError(f"expected one term, got {len(terms)} in {text!r}")
    return terms[0]
