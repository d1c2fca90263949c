"""Heat maps of one picture, made from its trace: one map for each term, at the picture's size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from daam.errors import SettingError, ShapeError, TermError
from daam.maps.readings import READINGS, Reading
from daam.maps.scales import apply_scale
from daam.maps.selection import Selection, Size
from daam.pictures.convert import Picture, to_rgb_array
from daam.pictures.overlay import overlay
from daam.prompt.explanations import why_never_active, why_not_found, why_side_unused
from daam.prompt.table import PromptTable, Span
from daam.prompt.terms import Place, Term, every_word, find_span, find_term, parse_terms
from daam.prompt.typed_words import table_words
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import Side

_MAPS_AT_ONCE = 64
MOST_NAMED = 100
"""So many words of the prompt are named where a term is not among them."""


@dataclass(frozen=True)
class HeatMap:
    """One term's heat map.

    >>> circle = heat_maps["circle"]
    >>> circle.values.shape, circle.values.dtype
    ((128, 128), dtype('float32'))
    >>> [circle.places[0].span, heat_maps.table.prompt[slice(*circle.places[0].span)]]
    [(6, 12), 'circle']

    Attributes:
        term: what it shows, as given.
        values: [height, width] float32 of the picture's size, not negative: Tang et al. (ACL 2023), D_k: attention
            probabilities of the term's tokens, averaged over these tokens, upscaled bicubically and summed over
            layers, heads and steps; or another reading of the same trace, see `HeatMaps.select`.
        places: where the term stands in the prompt.
    """

    term: str
    values: NDArray[np.float32]
    places: tuple[Place, ...]
    _siblings: HeatMaps = field(repr=False, compare=False)

    def to_numpy(self) -> NDArray[np.float32]:
        """A copy of `values`."""
        copy: NDArray[np.float32] = self.values.copy()
        return copy

    def mask(self, threshold: float | None = None) -> NDArray[np.bool_]:
        """[height, width]: where the map reaches `threshold` (0..1) times its maximum; 0.4 as in the paper.

        Of another reading it is that reading's own threshold, unless one is given: 0.5 of refined maps.

        >>> mask = heat_maps["circle"].mask(threshold=0.4)
        >>> mask.shape, mask.dtype
        ((128, 128), dtype('bool'))
        >>> bool((mask == (heat_maps["circle"].values >= 0.4 * heat_maps["circle"].values.max())).all())
        True
        """
        threshold = self._siblings.reading.threshold if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise SettingError(f"threshold: expected 0..1, got {threshold}")
        highest = self.values.max()
        if highest <= 0:
            return np.zeros(self.values.shape, bool)
        return np.asarray(self.values >= threshold * highest)

    def scaled(self, scale: str = "shared") -> NDArray[np.float32]:
        """[height, width] in 0..1 by a scale of `daam.maps.scales`; "shared" compares with every word of the prompt.

        >>> circle = heat_maps["circle"].scaled("each")
        >>> float(circle.min()), float(circle.max())
        (0.0, 1.0)
        """
        scaled: NDArray[np.float32] = self._siblings.scaled([self.term], scale, compared_with=list(self._siblings))[0]
        return scaled

    def overlay(
        self,
        picture: Picture,
        *,
        opacity: float = 0.5,
        colormap: str = "turbo",
        scale: str = "shared",
        blend: str = "even",
    ) -> Image.Image:
        """The map in colours over the picture; opacity 1 shows the map alone.

        >>> heat_maps["blue square"].overlay(picture, opacity=0.6, colormap="viridis").size
        (128, 128)

        Args:
            picture: the one that was traced, or that one at another size.
            blend: "even" covers all of it alike, "heat" the more the hotter.

        Raises:
            ShapeError: the picture is of another shape, so that the map would lie in the wrong place.
        """
        _check_shape(to_rgb_array(picture).shape[:2], self.values.shape)
        return overlay(picture, self.scaled(scale), opacity=opacity, colormap=colormap, blend=blend)


@dataclass
class _TextSums:
    """Maps of one text, added up over layers of one size: [column, height, width] each.

    Attributes:
        key: (part, entry) of the first of the equal texts that they come from.
        rows: of each column.
    """

    key: tuple[int, int]
    rows: dict[int, int]
    by_size: dict[Size, Tensor] = field(default_factory=dict)
    _own: set[Size] = field(default_factory=set)

    def add(self, layers: Iterable[Tensor]) -> None:
        """Maps [column, height, width] of a text with these columns; the first of a size is kept as it is."""
        for maps in layers:
            size = (maps.shape[-2], maps.shape[-1])
            if size in self._own:
                self.by_size[size].add_(maps)
            elif size in self.by_size:
                self.by_size[size] = self.by_size[size] + maps
                self._own.add(size)
            else:
                self.by_size[size] = maps

    def means(self) -> list[float]:
        """Of each column: averaged over positions, added up over layers and texts."""
        means = torch.zeros(len(self.rows), dtype=torch.float64)
        for maps in self.by_size.values():
            means += maps.flatten(1).mean(dim=1)
        found: list[float] = means.tolist()
        return found


class HeatMaps(Mapping[str, HeatMap]):
    """The heat maps of one picture: `heat_maps["cute cat"]`. Iterates over the words of the prompt that have a map.

    Any term of the prompt may be asked for; `select` narrows what the maps are made from.

    >>> list(heat_maps)
    ['a', 'red', 'circle', 'and', 'blue', 'square']
    >>> heat_maps["blue square"].values.shape
    (128, 128)
    >>> [word for word in heat_maps.words if word not in heat_maps]
    []
    >>> "unicorn" in heat_maps
    False
    >>> heat_maps.explain("unicorn")
    "'unicorn' is not in the prompt; it has: a, red, circle, and, blue, square"
    >>> sorted(set(heat_maps.select(layers="up_blocks.2.*").layers.values()))
    [(16, 16)]
    """

    def __init__(self, trace: ImageTrace, *, side: Side = "positive", selection: Selection | None = None):
        table = trace.table(side)
        if table is None:
            raise TermError(f"this picture has no {side} prompt that was traced")
        self.trace = trace
        self.side: Side = side
        self.table: PromptTable = table
        self.selection = selection or Selection()
        self._words = tuple(word.quoted for word in every_word(table))
        self._maps: dict[str, HeatMap] = {}
        self._by_size: dict[str, dict[Size, Tensor]] = {}
        self._known: dict[str, tuple[Term, list[Place]]] = {}
        self._kept: dict[str, list[Place] | str] = {}
        self._all_words: NDArray[np.float32] | None = None
        self._texts = {
            (key.part, key.entry): maps for key, maps in trace.texts.items() if key.side == side and maps.sums
        }

    def __getitem__(self, term: str) -> HeatMap:
        """The map of a term.

        Raises:
            TermError: the term has no map; the text says why.
        """
        self.prepare([term], checked=True)
        return self._maps[term]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, term: object) -> bool:
        return isinstance(term, str) and self.explain(term) is None

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of the prompt, with a map or without, as it is looked up."""
        return self._words

    @cached_property
    def _found(self) -> tuple[str, ...]:
        return tuple(word for word in self._words if word in self)

    def explain(self, term: str) -> str | None:
        """Why a term has no map, as one sentence; None when it has one."""
        kept = self._kept_places(term)
        return kept if isinstance(kept, str) else None

    @property
    def picture_size(self) -> Size:
        """(height, width) in pixels."""
        return self.trace.picture_size

    @cached_property
    def layers(self) -> dict[str, Size]:
        """The layers that the maps are made from, with the size of their maps."""
        return {
            name: (maps.shape[-2], maps.shape[-1])
            for layers in self._layer_maps.values()
            for name, maps in layers.items()
        }

    @cached_property
    def _layer_maps(self) -> dict[tuple[int, int], dict[str, Tensor]]:
        """The selected layers' maps of each text [column, height, width]."""
        return {key: self.selection.layer_maps(text) for key, text in self._texts.items()}

    @cached_property
    def _sums(self) -> list[_TextSums]:
        """The texts' maps, with those added up whose columns mean the same, as the turns of an alternation."""
        words = table_words(self.table)
        found: dict[tuple[int, int, tuple[int, ...]], _TextSums] = {}
        for key, text in self._texts.items():
            columns = self.selection.columns(text)
            same = key[0], id(words.of(*key)), columns
            sums = found.setdefault(same, _TextSums(key, {column: row for row, column in enumerate(columns)}))
            sums.add(self._layer_maps[key].values())
        return list(found.values())

    def know(self, name: str, term: Term, places: Sequence[Place]) -> None:
        """Where a term stands, for who has found it already; `name` is how it will be asked for.

        What was made under this name from other places is forgotten.
        """
        if self._known.get(name) == (term, list(places)):
            return
        self._known[name] = term, list(places)
        for made in (self._kept, self._maps, self._by_size):
            made.pop(name, None)

    def at(self, span: Span) -> HeatMap:
        """The map of what was typed at a span of the prompt: of one of two equal words, or of a sign.

        >>> heat_maps.table.prompt[6:12], heat_maps.at((6, 12)).places[0].columns
        ('circle', (3,))

        Args:
            span: characters [begin, end) of `table.prompt`; every token counts that has one of them.

        Raises:
            TermError: no token was typed there, or it has no map.
        """
        begin, end = span
        text = self.table.prompt[begin:end]
        places = find_span(span, self.table)
        if not places:
            raise TermError(f"expected a span with a word or a sign of the prompt, got {begin} to {end}, {text!r}")
        name = f"{text}@{begin}:{end}"
        self.know(name, Term(text, ()), places)
        self.prepare([name], checked=True)
        return self._maps[name]

    def select(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        resolutions: Sequence[Size] | None = None,
        heads: Sequence[int] | None = None,
        steps: tuple[int, int] | None = None,
        reading: str | None = None,
    ) -> HeatMaps:
        """The same picture's maps from a part of the trace, or read in another way.

        Args:
            layers, resolutions, heads, steps: the part; see `daam.maps.selection.Selection`.
            reading: "refined" follows outlines: an estimate of each word's region, of the strength that the word has.
                Words that name nothing, and the negative prompt's, stay plain. "balanced" lets all layers count alike;
                "plain" is the paper's.

        Raises:
            NotKeptError: heads, steps or refined maps were not kept, or could not be made; the text says why.
            SettingError: nothing is left, there is no such head, step or reading, or it is of the whole trace only.
        """
        selection = self.selection.narrowed(layers, resolutions, heads, steps, reading)
        most_heads = max((count for text in self._texts.values() for count in text.heads.values()), default=0)
        selection.check(self.trace, most_heads)
        chosen = HeatMaps(self.trace, side=self.side, selection=selection)
        if self.layers and not chosen.layers:
            raise SettingError(f"no layer is left of {', '.join(self.layers)} with {selection}")
        return chosen

    def scaled(
        self, terms: Sequence[str], scale: str = "shared", *, compared_with: Sequence[str] = ()
    ) -> NDArray[np.float32]:
        """Maps of several terms brought to 0..1, [term, height, width].

        >>> shares = heat_maps.scaled(list(heat_maps), "share")
        >>> shares.shape, bool(np.allclose(shares.sum(axis=0), 1, atol=1e-3))
        ((6, 128, 128), True)

        Args:
            scale: a name of `daam.maps.scales.SCALES`.
            compared_with: more terms that take part in a shared scale; those without a map are left out.
        """
        others: list[NDArray[np.float32]] = []
        if scale == "shared":
            others += [self[term].values for term in compared_with if term in self]
            if self.reference is not self:
                others += [heat_map.values for heat_map in self.reference.values()]
        maps = np.stack([*(self[term].values for term in terms), *others])
        return apply_scale(scale, maps, self.reference.all_words() if scale == "share" else maps[0])[: len(terms)]

    @property
    def reading(self) -> Reading:
        """How the sums become maps."""
        return READINGS[self.selection.reading]

    @cached_property
    def plain(self) -> HeatMaps:
        """The same part of the trace, read as the paper does; what strength is measured on."""
        if self.selection.reading == "plain":
            return self
        return HeatMaps(self.trace, side=self.side, selection=replace(self.selection, reading="plain"))

    @cached_property
    def reference(self) -> HeatMaps:
        """The maps that these are compared with: the positive prompt's for words that are not in the prompt."""
        return HeatMaps(self.trace, selection=self.selection) if self.side == "probe" else self

    def all_words(self) -> NDArray[np.float32]:
        """[height, width]: the sum of the maps of every word of the prompt."""
        if self._all_words is None:
            self._all_words = np.zeros(self.picture_size, np.float32)
            for heat_map in self.values():
                self._all_words += heat_map.values
        return self._all_words

    @cached_property
    def attention(self) -> dict[tuple[int, int], dict[int, float]]:
        """For each text, by (part, entry), and column: its attention, averaged over positions, summed over layers.

        Texts whose columns mean the same, as the turns of an alternation, are counted together, at the first of them.
        Whatever the reading, it is the plain one's.
        """
        if self.plain is not self:
            return self.plain.attention
        return {sums.key: dict(zip(sums.rows, sums.means())) for sums in self._sums}

    @cached_property
    def attention_of_words(self) -> float:
        """The attention of all words of the prompt together, by the plain reading; punctuation is none."""
        words = table_words(self.table)
        return sum(
            of_column.get(column, 0.0)
            for key, of_column in self.attention.items()
            for word in words.of(*key).words
            if not word.is_sign
            for column in word.columns
        )

    def by_size(self, term: str) -> dict[Size, Tensor]:
        """A term's map at each resolution before upscaling: [height, width], summed over layers, heads and steps.

        Raises:
            TermError: the term has no map.
        """
        self.prepare([term], checked=True)
        return self._by_size[term]

    def by_sizes(self, names: Sequence[str]) -> dict[str, dict[Size, Tensor]]:
        """`by_size` of those terms that have a map, at once and without upscaling any."""
        found = [name for name in dict.fromkeys(names) if name in self]
        sizes, terms_of_size = self._sizes_of([self._places(*self._find(name)) for name in found])
        return {
            name: {size: sizes[size][number] for size in sizes if number in terms_of_size[size]}
            for number, name in enumerate(found)
        }

    def prepare(self, names: Sequence[str], *, checked: bool = False) -> None:
        """Makes the maps of several terms at once, which is quicker than one by one.

        Args:
            checked: raise a TermError for a term without a map; else it is left out.
        """
        missing = [name for name in dict.fromkeys(names) if name not in self._maps and (checked or name in self)]
        for start in range(0, len(missing), _MAPS_AT_ONCE):
            some = missing[start : start + _MAPS_AT_ONCE]
            places = [self._places_of(name) for name in some]
            sizes, terms_of_size = self._sizes_of(places)
            for number, (name, where, values) in enumerate(zip(some, places, self._upscale(sizes, len(some)))):
                self._maps[name] = HeatMap(name, values, tuple(where), self)
                self._by_size[name] = {size: sizes[size][number] for size in sizes if number in terms_of_size[size]}

    def _sizes_of(self, terms: Sequence[Sequence[Place]]) -> tuple[dict[Size, Tensor], dict[Size, set[int]]]:
        """Means over each term's columns, added up over the texts.

        Returns:
            [term, height, width] for each resolution, and the numbers of the terms that have maps of it.
        """
        found: dict[Size, Tensor] = {}
        terms_of_size: dict[Size, set[int]] = {}
        columns_of = [_columns_by_text(places) for places in terms]
        for sums in self._sums:
            numbers, rows, shares = [], [], []
            for number, by_text in enumerate(columns_of):
                columns = by_text.get(sums.key, [])
                numbers += [number] * len(columns)
                rows += [sums.rows[column] for column in columns]
                shares += [1 / max(1, len(columns))] * len(columns)
            which, taken = torch.tensor(rows, dtype=torch.long), torch.tensor(numbers, dtype=torch.long)
            for size, maps in sums.by_size.items():
                if size not in found:
                    found[size], terms_of_size[size] = torch.zeros(len(terms), *size), set()
                chosen = maps.index_select(0, which).mul_(torch.tensor(shares)[:, None, None])
                found[size].index_add_(0, taken, chosen)
                terms_of_size[size].update(numbers)
        return found, terms_of_size

    def _upscale(self, by_size: dict[Size, Tensor], terms: int) -> list[NDArray[np.float32]]:
        """Upscaling is linear, so the sum of the layers of one size is upscaled at once.

        Outside the region that was generated the map is 0. OpenCV's cubic is torch's, and about seven times as fast.
        """
        whole = np.zeros((terms, *self.picture_size), np.float32)
        left, top, width, height = self.trace.region or (0, 0, whole.shape[2], whole.shape[1])
        total = whole[:, top : top + height, left : left + width]
        for maps in by_size.values():
            for number, own in enumerate(maps.numpy()):
                upscaled = cv2.resize(own, (width, height), interpolation=cv2.INTER_CUBIC)
                total[number] += upscaled[: total.shape[1], : total.shape[2]]
        return list(np.maximum(whole, 0, out=whole))

    def _kept_places(self, name: str) -> list[Place] | str:
        """The places of a term that have maps, or why there is none; found once."""
        if name not in self._kept:
            try:
                self._kept[name] = self._places(*self._find(name))
            except TermError as error:
                self._kept[name] = str(error)
        return self._kept[name]

    def _places_of(self, name: str) -> list[Place]:
        """As `_kept_places`.

        Raises:
            TermError: there is none.
        """
        kept = self._kept_places(name)
        if isinstance(kept, str):
            raise TermError(kept)
        return kept

    def _find(self, name: str) -> tuple[Term, list[Place]]:
        """The term of that name and its places in the prompt, looked up once."""
        if name not in self._known:
            term = _one_term(name)
            self._known[name] = term, find_term(term, self.table)
        return self._known[name]

    @cached_property
    def _word_list(self) -> str:
        shown = ", ".join(self._words[:MOST_NAMED])
        more = len(self._words) - MOST_NAMED
        return f"{shown} and {more} more" if more > 0 else shown or "no word"

    def _places(self, term: Term, places: Sequence[Place]) -> list[Place]:
        """The places of a term that have maps.

        Raises:
            TermError: there is none; the text says why.
        """
        if not places:
            other: Side = "negative" if self.side == "positive" else "positive"
            reason = why_not_found(term, self.table, self.trace.table(other), f"{other} prompt")
            raise TermError(f"{reason}; it has: {self._word_list}")
        if not self._texts:
            raise TermError(why_side_unused(term, self.side))
        active = [place for place in places if (place.part, place.entry) in self._texts]
        if not active:
            raise TermError(why_never_active(term, places, self.table, self.trace.calls))
        kept = [place for place in active if self._keeps(place)]
        if not kept and not self.selection.uses_details:
            raise TermError(f"{term.text!r}: its maps were not kept by the version that made this record")
        if not kept:
            raise TermError(f"{term.text!r}: its steps or heads were not kept; name it in the `terms` of the trace")
        if not self.layers:
            raise TermError(f"{term.text!r} has no map in the chosen layers")
        return kept

    def _keeps(self, place: Place) -> bool:
        return self._kept_columns[place.part, place.entry].issuperset(place.columns)

    @cached_property
    def _kept_columns(self) -> dict[tuple[int, int], frozenset[int]]:
        return {key: frozenset(self.selection.columns(text)) for key, text in self._texts.items()}


def _columns_by_text(places: Iterable[Place]) -> dict[tuple[int, int], list[int]]:
    """The columns of a term in each text, which (part, entry) names."""
    found: dict[tuple[int, int], list[int]] = {}
    for place in places:
        found.setdefault((place.part, place.entry), []).extend(place.columns)
    return found


def _check_shape(picture: Sequence[int], heat_map: Sequence[int]) -> None:
    """Args: both (height, width). Pictures are cut to multiples of 8 on the way."""
    (height, width), (own_height, own_width) = picture, heat_map
    factors = (height / own_height, width / own_width)
    if max(factors) / min(factors) - 1 >= 8 / max(own_height, own_width):
        raise ShapeError(
            f"expected the picture that was traced, {own_width}x{own_height}, or that one scaled, got "
            f"{width}x{height}: the map would lie in the wrong place"
        )


def _one_term(text: str) -> Term:
    terms = parse_terms(text)
    if len(terms) != 1:
        raise TermError(f"expected one term, got {len(terms)} in {text!r}; a comma belongs in quotes")
    return terms[0]
