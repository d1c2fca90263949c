"""Scores one picture after another: what is predicted for each true mask, and how well it fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from daam.errors import RecordError, SettingError
from daam.extras import need
from daam.maps.heat_maps import HeatMaps
from daam.results.record import load_record
from daam.studies.evaluation.coco import CocoTruth
from daam.studies.evaluation.folders import Place
from daam.studies.evaluation.masks import Encoded, Mask, read_labels, read_mask, resized, write_mask
from daam.studies.evaluation.rules import mask_by
from daam.studies.evaluation.vocabularies import Vocabulary

Match = Literal["labelled", "best", "hungarian"]
MakeRecord = Callable[[Place], HeatMaps]
FILE = math.nan
"""The threshold of a mask that was read from a file."""


@dataclass(frozen=True)
class Protocol:
    """How an evaluation is made.

    Attributes:
        thresholds: of the heat maps; masks from files are the same at each.
        match: "labelled" compares what has the same label; "best" takes the prediction of the picture that fits best;
            "hungarian" gives each label of the predictions to one of the truth, the best for all pictures together.
        missing: "zero" counts a prediction that is not there as an IoU of 0, "skip" leaves it out.
        map_kind: a name of `daam.maps.readings.READINGS`.
    """

    thresholds: tuple[float, ...] = (0.3, 0.4, 0.5)
    mask_rule: str = "max"
    match: Match = "labelled"
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary("none"))
    missing: Literal["zero", "skip"] = "zero"
    map_kind: str = "plain"


@dataclass(frozen=True)
class Predicted:
    """A predicted mask, its label, and where its heat map is highest (row, column), where it comes from one."""

    label: str
    mask: Mask
    source: Literal["file", "record"]
    peak: tuple[int, int] | None = None


@dataclass
class Remarks:
    """What to say of the files that were read, each with how often."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> None:
        self.counts[text] = self.counts.get(text, 0) + 1

    @property
    def sentences(self) -> list[str]:
        return [f"{text} ({count})" for text, count in self.counts.items()]


class Scoring:
    """Goes through pictures and keeps the scores; a picture's masks are let go after it.

    Attributes:
        rows: a dict for each picture, true mask and threshold.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        truth: CocoTruth | None = None,
        make_record: MakeRecord | None = None,
        write_prefix: str | None = None,
    ):
        """Args:
        truth: annotations beside the mask files.
        make_record: makes the heat maps of a picture that has neither predictions nor a record.
        write_prefix: masks from heat maps are written as `<word>.<prefix>.pred.png`.
        """
        self._protocol, self._coco, self._make_record = protocol, truth, make_record
        self._write_prefix = write_prefix
        self.remarks = Remarks()
        self.rows: list[dict[str, Any]] = []
        self.pictures = self.without_truth = 0

    def score(self, place: Place) -> None:
        """Adds the scores of one picture.

        Raises:
            RecordError: a mask or a record cannot be read.
        """
        truth = self._truth(place)
        self.add(place, truth, self._maps(place, truth) if truth else None)

    def add(self, place: Place, truth: Mapping[str, Mask], maps: HeatMaps | None) -> None:
        """Adds the scores of one picture whose true masks and heat maps are at hand.

        Args:
            truth: [height, width] of each label.
            maps: None where every prediction is a file of `place`.
        """
        if not truth:
            self.without_truth += 1
            return
        self.pictures += 1
        size = next((mask.shape[0], mask.shape[1]) for mask in truth.values())
        encoded = {label: Encoded(mask) for label, mask in truth.items()}
        given = [self._fitted(each, size) for each in self._from_files(place) + self._from_composite(place)]
        known = {each.label for each in given}
        values = self._values(place, truth, maps) if maps is not None else {}
        for threshold in self._protocol.thresholds:
            made = [each for each in self._from_maps(place, maps, values, threshold) if each.label not in known]
            predictions = [*given, *(self._fitted(each, size) for each in made)]
            self.rows += self._rows(place, truth, encoded, predictions, threshold)

    def finish(self) -> Any:
        """All rows as a pandas frame; with "hungarian" the labels are assigned here.

        Raises:
            SettingError: pandas is not installed, or no picture has a true mask.
        """
        pandas = need("pandas", "daam evaluate")
        if not self.rows:
            raise SettingError(
                f"expected pictures with true masks (<word>.gt.png, or --annotations), got none in "
                f"{self.without_truth} pictures"
            )
        frame = pandas.DataFrame(self.rows)
        if self._protocol.match == "hungarian":
            frame = _assigned(frame, need("scipy.optimize", "daam evaluate").linear_sum_assignment)
        frame = frame.drop(columns="ious")
        if self._protocol.missing == "zero":
            frame["iou"] = frame["iou"].fillna(0.0)
        return frame

    def _truth(self, place: Place) -> dict[str, Mask]:
        by_word = {word: self._read(path) for word, path in place.truth.items()}
        if self._coco is not None:
            by_word |= self._coco.masks(place.id)
        grouped = self._protocol.vocabulary.grouped(by_word)
        outside = len(by_word) - sum(map(len, grouped.values()))
        for _ in range(outside):
            self.remarks.add(f"true masks of words that are not in the vocabulary {self._protocol.vocabulary.name}")
        found = {label: _union(masks) for label, masks in grouped.items()}
        for _ in [mask for mask in found.values() if not mask.any()]:
            self.remarks.add("true masks that are empty, left out")
        return {label: mask for label, mask in found.items() if mask.any()}

    def _read(self, path: Any) -> Mask:
        mask, remark = read_mask(path)
        if remark is not None:
            self.remarks.add(remark)
        return mask

    def _maps(self, place: Place, truth: Mapping[str, Mask]) -> HeatMaps | None:
        """The picture's heat maps, where predictions are missing."""
        wanted = set(truth) - set(self._protocol.vocabulary.grouped(place.predictions))
        if not wanted or place.composite is not None:
            return None
        if place.record is not None:
            return load_record(place.record).heat_maps()
        return None if self._make_record is None else self._make_record(place)

    def _fitted(self, predicted: Predicted, size: tuple[int, int]) -> Predicted:
        if predicted.mask.shape == size:
            return predicted
        self.remarks.add("predictions of another size than the true mask, brought to it")
        return Predicted(predicted.label, resized(predicted.mask, size), predicted.source)

    def _from_files(self, place: Place) -> list[Predicted]:
        grouped = self._protocol.vocabulary.grouped(place.predictions)
        found = []
        for label, paths in grouped.items():
            found.append(Predicted(label, _union([self._read(path) for path in paths]), "file"))
        return found

    def _from_composite(self, place: Place) -> list[Predicted]:
        if place.composite is None:
            return []
        labels = self._protocol.vocabulary.labels
        if not labels and self._protocol.match == "labelled":
            raise SettingError(
                f"{place.composite}: its numbers need a --vocabulary, or --match best or hungarian, to be compared"
            )
        numbers = read_labels(place.composite)
        found = []
        for number in np.unique(numbers[numbers > 0]).tolist():
            label = labels[number - 1] if number <= len(labels) else f"#{number}"
            found.append(Predicted(label, numbers == number, "file"))
        return found

    def _values(
        self, place: Place, truth: Mapping[str, Mask], maps: HeatMaps
    ) -> dict[str, tuple[str, NDArray[np.float32]]]:
        """Of each label the word, and its map [height, width]."""
        vocabulary, read = self._protocol.vocabulary, maps.select(reading=self._protocol.map_kind)
        if self._protocol.match == "labelled":
            words = [word for word in (*place.truth, *truth) if word in maps]
            words += [word for word in maps if vocabulary.label(word) in truth]
        else:
            words = list(maps)
        found: dict[str, tuple[str, NDArray[np.float32]]] = {}
        for word in dict.fromkeys(words):
            label = vocabulary.label(word)
            if label is not None and label not in found:
                found[label] = word, read[word].values
        return found

    def _from_maps(
        self,
        place: Place,
        maps: HeatMaps | None,
        values: Mapping[str, tuple[str, NDArray[np.float32]]],
        threshold: float,
    ) -> list[Predicted]:
        if maps is None:
            return []
        is_written = self._write_prefix is not None and threshold == self._protocol.thresholds[0]
        found = []
        for label, (word, own) in values.items():
            mask = mask_by(self._protocol.mask_rule, threshold, maps, own)
            found.append(Predicted(label, mask, "record", _peak(own)))
            if is_written and "/" not in word:
                write_mask(place.folder / f"{word}.{self._write_prefix}.pred.png", mask)
        return found

    def _rows(
        self,
        place: Place,
        truth: Mapping[str, Mask],
        encoded: Mapping[str, Encoded],
        predictions: Sequence[Predicted],
        threshold: float,
    ) -> list[dict[str, Any]]:
        by_label = {each.label: (each, Encoded(each.mask)) for each in predictions}
        rows = []
        for label, true in encoded.items():
            ious = {name: mask.iou(true) for name, (_, mask) in by_label.items()}
            chosen = label if self._protocol.match == "labelled" else max(ious, key=lambda name: ious[name], default="")
            predicted, mask = by_label.get(chosen, (None, None))
            others = [ious[name] for name in truth if name != label and name in ious]
            rows.append(
                {
                    "item": place.id,
                    "subtype": place.subtype,
                    "label": label,
                    "threshold": threshold,
                    "predicted": chosen if predicted is not None else None,
                    "iou": ious.get(chosen, math.nan),
                    "is_missing": predicted is None,
                    "source": None if predicted is None else predicted.source,
                    "area": math.nan if mask is None else mask.share,
                    "true_area": true.share,
                    "peak_on_object": _is_on(predicted, truth[label]),
                    "iou_whole_picture": true.share,
                    "iou_centred_disc": Encoded(_disc(truth[label].shape, threshold)).iou(true),
                    "iou_other_noun": float(np.mean(others)) if others else math.nan,
                    "ious": ious,
                }
            )  # fmt: skip
        return rows


def score_all(scoring: Scoring, places: Iterable[Place]) -> Any:
    """Scores every place; what cannot be read is told of and counted as not there.

    Raises:
        SettingError: as `Scoring.finish`.
    """
    for place in places:
        try:
            scoring.score(place)
        except RecordError as error:
            scoring.remarks.add(f"left out: {error}")
    return scoring.finish()


def _assigned(frame: Any, assign: Callable[..., Any]) -> Any:
    """With the labels of the predictions given to those of the truth, at each threshold by itself.

    Each pair's worth is its mean IoU over the pictures that have this truth; where a prediction is not in a picture it
    is 0 there. The assignment with the highest sum is taken (Kuhn, 1955).
    """
    frame = frame.copy()
    for _, part in frame.groupby("threshold"):
        truths = sorted(part["label"].unique())
        names = sorted({name for ious in part["ious"] for name in ious})
        if not names:
            continue
        worth = np.zeros((len(truths), len(names)))
        for row, label in enumerate(truths):
            ious = part.loc[part["label"] == label, "ious"]
            worth[row] = [np.mean([each.get(name, 0.0) for each in ious]) for name in names]
        pairs = dict(zip(*assign(worth, maximize=True)))
        for row, label in enumerate(truths):
            name = names[pairs[row]] if row in pairs else None
            rows = part.index[part["label"] == label]
            frame.loc[rows, "predicted"] = name
            frame.loc[rows, "iou"] = [part["ious"][index].get(name, math.nan) for index in rows]
            frame.loc[rows, "is_missing"] = [name not in part["ious"][index] for index in rows]
    return frame


def _union(masks: Sequence[Mask]) -> Mask:
    """All masks in one, at the size of the first."""
    size = (masks[0].shape[0], masks[0].shape[1])
    return np.asarray(np.any([resized(mask, size) for mask in masks], axis=0))


def _peak(values: NDArray[np.float32]) -> tuple[int, int]:
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return int(row), int(column)


def _is_on(predicted: Predicted | None, truth: Mask) -> float:
    if predicted is None or predicted.peak is None:
        return math.nan
    return float(truth[predicted.peak])


def _disc(shape: tuple[int, ...], threshold: float) -> Mask:
    """Where a gaussian of a quarter of the picture, in its middle, reaches the threshold; all of it at 0."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    squares = ((rows - shape[0] / 2) / shape[0]) ** 2 + ((columns - shape[1] / 2) / shape[1]) ** 2
    return np.asarray(np.exp(-squares / (2 * 0.25**2)) >= threshold)
