"""The paper's visuosyntactic study: how the maps of a head and its dependent lie on each other, by relation.

Tang et al. (ACL 2023), section 4. With D and H the masks of dependent and head: mIoD = |D∩H| / |D|, mIoH = |D∩H| / |H|,
and Δ = mIoD - mIoH: above 0 the head's map is the wider one and covers its dependent's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from daam.errors import RecordError, TermError
from daam.extras import need
from daam.maps.heat_maps import HeatMaps
from daam.prompt.grammar import Parser
from daam.prompt.table import Span
from daam.prompt.typed_grammar import parse_edges, parse_tokens
from daam.results.record import load_record
from daam.studies.evaluation.folders import Place
from daam.studies.evaluation.masks import Mask
from daam.studies.evaluation.rules import mask_by
from daam.studies.numbers.estimates import Estimate, mean_over
from daam.studies.numbers.writing import Cell, Findings, Table

PAPER = ("nsubj", "obj", "amod", "compound", "det", "case", "punct", "acl", "conj:and", "nmod:of")
"""Relations that the paper's table has."""
ALL_EDGES, ALL_PAIRS, UNRELATED = "all edges", "all pairs", "unrelated pairs"
MEASURES = {"iod": "mIoD", "ioh": "mIoH", "iou": "mIoU", "delta": "Δ = mIoD − mIoH"}


def read_maps(place: Place, reading: str) -> HeatMaps | None:
    """The heat maps of a picture's record; None where there is none.

    Raises:
        RecordError: it cannot be read.
        NotKeptError: the reading was not kept.
    """
    if place.record is None:
        return None
    return load_record(place.record).heat_maps().select(reading=reading)


def syntax_rows(name: str, maps: HeatMaps, parser: Parser, rule: str, threshold: float) -> list[dict[str, Any]]:
    """A row for each edge of a picture's prompt, and for each pair of its words.

    Of a pair that no relation joins, the word that stands first is taken for the head.

    Args:
        rule: a name of `MASK_RULES`.
    """
    tokens = parse_tokens(maps.table, parser)
    masks = {}
    for token in tokens:
        try:
            masks[token.span] = mask_by(rule, threshold, maps, maps.at(token.span).values)
        except TermError:  # of a text that was never active
            continue
    edges = [edge for edge in parse_edges(maps.table, parser) if edge.head in masks and edge.dependent in masks]
    joined = {frozenset((edge.head, edge.dependent)) for edge in edges}
    words = [token.span for token in tokens if token.kind != "PUNCT" and token.span in masks]
    shared = _shared(masks)
    rows = [_row(name, maps, edge.relation, edge.head, edge.dependent, masks, shared) for edge in edges]
    for head, dependent in itertools.combinations(words, 2):
        kind = "related pair" if frozenset((head, dependent)) in joined else UNRELATED
        rows.append(_row(name, maps, kind, head, dependent, masks, shared))
    return rows


def _shared(masks: Mapping[Span, Mask]) -> dict[tuple[Span, Span], float]:
    """How many pixels each two masks have in common."""
    if not masks:
        return {}
    flat: NDArray[np.float32] = np.stack([mask.ravel() for mask in masks.values()]).astype(np.float32)
    common = (flat @ flat.T).tolist()  # whole numbers below 2 ** 24, so float32 is exact
    return {
        (first, second): common[row][column]
        for row, first in enumerate(masks)
        for column, second in enumerate(masks)
    }  # fmt: skip


def _row(
    name: str,
    maps: HeatMaps,
    relation: str,
    head: Span,
    dependent: Span,
    masks: Mapping[Span, Mask],
    shared: Mapping[tuple[Span, Span], float],
) -> dict[str, Any]:
    both, of_head, of_dependent = shared[head, dependent], shared[head, head], shared[dependent, dependent]
    is_empty = not of_head or not of_dependent
    iod, ioh = (math.nan, math.nan) if is_empty else (both / of_dependent, both / of_head)
    prompt = maps.table.prompt
    return {
        "item": name,
        "relation": relation,
        "head": prompt[slice(*head)],
        "dependent": prompt[slice(*dependent)],
        "head_begin": head[0],
        "dependent_begin": dependent[0],
        "iod": iod,
        "ioh": ioh,
        "iou": math.nan if is_empty else both / (of_head + of_dependent - both),
        "delta": iod - ioh,
        "is_empty": is_empty,
    }


def syntax_frame(
    places: Iterable[Place], parser: Parser, *, rule: str, threshold: float, reading: str
) -> tuple[Any, dict[str, int]]:
    """The rows of all pictures as a pandas frame, and how many pictures were read, and left out.

    Raises:
        SettingError: pandas is not installed.
        NotKeptError: the reading was not kept.
    """
    pandas = need("pandas", "daam study")
    rows, counts = [], {"read": 0, "without a record": 0, "damaged": 0}
    for place in places:
        try:
            maps = read_maps(place, reading)
        except RecordError:
            counts["damaged"] += 1
            continue
        if maps is None:
            counts["without a record"] += 1
            continue
        counts["read"] += 1
        rows += syntax_rows(place.name, maps, parser, rule, threshold)
    columns = ["item", "relation", "head", "dependent", *MEASURES, "is_empty"]
    return pandas.DataFrame(rows, columns=None if rows else columns), counts


def syntax_findings(frame: Any, counts: Mapping[str, int], settings: Mapping[str, Any]) -> Findings:
    """The paper's table from what `syntax_frame` gave."""
    is_pair = frame["relation"].isin([UNRELATED, "related pair"])
    groups = {
        ALL_PAIRS: frame[is_pair], UNRELATED: frame[frame["relation"] == UNRELATED], ALL_EDGES: frame[~is_pair],
    }  # fmt: skip
    others = sorted(set(frame[~is_pair]["relation"]) - set(PAPER))
    groups |= {relation: frame[frame["relation"] == relation] for relation in (*PAPER, *others)}
    found = {name: _estimates(part) for name, part in groups.items() if len(part)}
    shown = [name for name in groups if name in found and name not in others]
    tables = [_table("Head and dependent", shown, found, groups)]
    if others:
        tables.append(_table("Other relations", [name for name in others if name in found], found, groups, True))
    results = {
        name: {**found[name], "edges": len(groups[name]), "captions": int(groups[name]["item"].nunique()),
               "empty_masks": int(groups[name]["is_empty"].sum())}
        for name in found
    }  # fmt: skip
    notes = [
        "Of unrelated pairs, and of all pairs, the word that stands first in the prompt is taken for the head.",
        f"Masks by {settings['mask_rule']} at {settings['threshold']:g}: the rule decides the direction of Δ, "
        "which may differ between a share of each map's maximum, as in the paper, and one absolute value, as in the "
        "authors' notebook.",
        "; ".join(f"{count} pictures {name}" for name, count in counts.items() if count),
    ]
    figures = {"delta.png": _forest([name for name in shown if name not in (ALL_PAIRS, UNRELATED)], found)}
    return Findings("Syntax and heat maps", frame, results, settings, tables, notes, figures)


def _estimates(part: Any) -> dict[str, Estimate]:
    return {name: mean_over(part[name], part["item"]) for name in MEASURES}


def _table(
    title: str,
    names: Sequence[str],
    found: Mapping[str, Mapping[str, Estimate]],
    groups: Mapping[str, Any],
    is_detail: bool = False,
) -> Table:
    heads = ["relation", *MEASURES.values(), "edges", "captions", "empty masks"]
    rows: list[Sequence[Cell]] = [
        [name, *found[name].values(), len(groups[name]), int(groups[name]["item"].nunique()),
         int(groups[name]["is_empty"].sum())]
        for name in names
    ]  # fmt: skip
    return Table(title, heads, rows, scale=100, digits=1, is_detail=is_detail)


def _forest(names: Sequence[str], found: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    """Δ of each relation with its interval."""
    figure = Figure(figsize=(7, 1 + 0.35 * len(names)))
    axes = figure.add_subplot()
    axes.axvline(0, color="gray", linewidth=1)
    for row, name in enumerate(reversed(names)):
        delta = found[name]["delta"]
        if not delta.n:
            continue
        if delta.low is not None and delta.high is not None:
            axes.plot([100 * delta.low, 100 * delta.high], [row, row], color="C0", linewidth=2)
        axes.plot([100 * delta.value], [row], "o", color="C0")
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_xlabel("Δ = mIoD − mIoH, in points: to the right the head's map is wider")
    return figure
