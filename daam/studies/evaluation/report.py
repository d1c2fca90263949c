"""What an evaluation found, as numbers, table and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from daam.studies.evaluation.scoring import Scoring
from daam.studies.numbers.estimates import Estimate, mean_over
from daam.studies.numbers.writing import Cell, Findings, Table

SCORES = {
    "iou": "mIoU",
    "peak_on_object": "peak on the object",
    "area": "area of the mask",
    "true_area": "area of the true mask",
    "iou_whole_picture": "baseline: whole picture",
    "iou_centred_disc": "baseline: centred disc",
    "iou_other_noun": "baseline: the other noun's map",
}
"""Columns of the samples, and what they are called."""


def findings_of(frame: Any, scoring: Scoring, settings: Mapping[str, Any]) -> Findings:
    """
    Args:
        frame: what `Scoring.finish` gave.
        settings: for the report.
    """
    thresholds = sorted(frame["threshold"].unique().tolist())
    found: dict[float, dict[str, Estimate]] = {}
    rows: list[Sequence[Cell]] = []
    results: dict[str, Any] = {"pictures": scoring.pictures, "pictures_without_truth": scoring.without_truth}
    for threshold in thresholds:
        part = frame[frame["threshold"] == threshold]
        found[threshold] = {name: mean_over(part[name], part["item"]) for name in SCORES}
        missing = int(part["is_missing"].sum())
        results[f"{threshold:g}"] = {**found[threshold], "missing": missing, "true_masks": len(part)}
    for name, title in SCORES.items():
        if any(found[threshold][name].n for threshold in thresholds):
            rows.append([title, *(found[threshold][name] for threshold in thresholds)])
    rows.append(["missing predictions", *(f"{results[f'{each:g}']['missing']} of {results[f'{each:g}']['true_masks']}"
                                          for each in thresholds)])  # fmt: skip
    heads = ["", *(f"τ {threshold:g}" for threshold in thresholds)]
    tables = [Table("Scores", heads, rows), _by_label(frame, thresholds)]
    sources = frame.drop_duplicates(["item", "subtype", "label"])["source"].value_counts()
    notes = [f"{count} predictions from {name}s" for name, count in sources.items()]
    notes += [
        f"{scoring.pictures} pictures with true masks, {scoring.without_truth} without",
        *scoring.remarks.sentences,
    ]
    figures = {"iou.png": _curve(found)} if len(thresholds) > 1 else {}
    return Findings("Heat maps against true masks", frame, results, settings, tables, notes, figures)


def _by_label(frame: Any, thresholds: Sequence[float]) -> Table:
    rows: list[Sequence[Cell]] = []
    for label, part in frame.groupby("label"):
        by_threshold = [part[part["threshold"] == threshold] for threshold in thresholds]
        rows.append([str(label), *(mean_over(each["iou"], each["item"]) for each in by_threshold)])
    return Table("IoU by label", ["", *(f"τ {threshold:g}" for threshold in thresholds)], rows, is_detail=True)


def _curve(found: Mapping[float, Mapping[str, Estimate]]) -> Figure:
    """IoU over the threshold, with intervals, and the baselines."""
    figure = Figure(figsize=(7, 4.5))
    axes = figure.add_subplot()
    thresholds = list(found)
    for name, title in SCORES.items():
        if not name.startswith("iou") or not all(found[threshold][name].n for threshold in thresholds):
            continue
        estimates = [found[threshold][name] for threshold in thresholds]
        values = [each.value for each in estimates]
        (line,) = axes.plot(thresholds, values, marker="o", label=title, linewidth=2.5 if name == "iou" else 1)
        low = [each.value if each.low is None else each.low for each in estimates]
        high = [each.value if each.high is None else each.high for each in estimates]
        axes.fill_between(thresholds, low, high, color=line.get_color(), alpha=0.2)
    axes.set(xlabel="threshold τ", ylabel="IoU", ylim=(0, 1), xticks=np.asarray(thresholds))
    axes.legend()
    return figure
