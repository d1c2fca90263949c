"""How often the viewer's observations are right, on the embedded model, where the truth is known.

    python -m benchmarks.observations

Every caption gets a word that training never saw. Then it is known, of each picture:

- ignored: the unknown word can do nothing; colours and nouns of objects that are there did something.
- spread out: the ground's colour and the word "background" are everywhere; colours and nouns of objects are not.
- same region: a colour and its own noun lie on one object; the nouns of two objects lie on two.
- neighbours apart: a colour and the other object's noun lie apart; a colour and its own noun do not.

Thresholds are chosen on one half of the captions (see `Question.best_threshold`) and measured on the other half, beside
those that the viewer uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.machine import machine
from benchmarks.segmentation import Sample, generate_samples, is_present
from daam.maps import observations
from daam.maps.heat_maps import HeatMaps
from daam.maps.observations import Facts, gather
from tools.train_demo_model.held_out import make_captions

UNKNOWN_WORDS = ("xylophone", "glacier", "democracy", "velvet", "thunder", "algebra", "violin", "marble")
MOST_FALSE_ALARMS = 0.05
NEARLY = 0.95
"""Share of the best hit rate that is as good."""
Asked = tuple[float, bool]
"""A number that is compared with the threshold, and whether it should be said."""


@dataclass(frozen=True)
class Question:
    """One kind of observation.

    Attributes:
        ask: the numbers of one sample, each with the truth.
        threshold: what the viewer uses.
        is_said: whether a number meets a threshold.
    """

    ask: Callable[[Sample, Facts], Iterator[Asked]]
    threshold: float
    is_said: Callable[[float, float], bool]

    def rates(self, asked: Sequence[Asked], threshold: float) -> tuple[float, float]:
        """(hit rate, false alarms) at a threshold."""
        said = [(self.is_said(number, threshold), truth) for number, truth in asked]
        return tuple(  # type: ignore[return-value]
            float(np.mean([is_said for is_said, truth in said if truth == wanted])) for wanted in (True, False)
        )

    def best_threshold(self, asked: Sequence[Asked]) -> float:
        """Of those with few false alarms that hit nearly as often as the best one: the one that says least."""
        grid = [float(each) for each in np.linspace(0, 1, 101)]
        rates = {each: self.rates(asked, each) for each in grid}
        quiet = [each for each in grid if rates[each][1] <= MOST_FALSE_ALARMS]
        highest = max(rates[each][0] for each in quiet)
        return min((each for each in quiet if rates[each][0] >= NEARLY * highest), key=lambda each: sum(rates[each]))


def _objects(sample: Sample) -> list[tuple[str, str]]:
    """Colour and noun of each object that is there."""
    return [thing for thing, mask in zip(sample.caption.objects, sample.masks) if is_present(mask)]


def _of_words(facts: Facts, words: Iterable[str], number: Callable[[Mapping[str, float]], float]) -> Iterator[float]:
    return (number(facts.words[word]) for word in words if word in facts.words)


def _strengths(sample: Sample, facts: Facts) -> Iterator[Asked]:
    median = float(np.median([numbers["strength"] for numbers in facts.words.values()]))
    for words, truth in ((UNKNOWN_WORDS, True), ([word for thing in _objects(sample) for word in thing], False)):
        for number in _of_words(facts, words, lambda numbers: numbers["strength"] / median):
            yield number, truth


def _coverages(sample: Sample, facts: Facts) -> Iterator[Asked]:
    ground = ("background", sample.caption.background)
    for words, truth in ((ground, True), ([word for thing in _objects(sample) for word in thing], False)):
        for number in _of_words(facts, words, lambda numbers: numbers["coverage"]):
            yield number, truth


def _overlap(facts: Facts, first: str, second: str) -> Iterator[float]:
    if first in facts.words and second in facts.words:
        yield facts.words[first]["overlap"][second]


def _same_regions(sample: Sample, facts: Facts) -> Iterator[Asked]:
    things = _objects(sample)
    for colour, noun in things:
        yield from ((number, True) for number in _overlap(facts, colour, noun))
    if len(things) == 2:
        yield from ((number, False) for number in _overlap(facts, things[0][1], things[1][1]))


def _neighbours(sample: Sample, facts: Facts) -> Iterator[Asked]:
    things = _objects(sample)
    for colour, noun in things:
        yield from ((number, False) for number in _overlap(facts, colour, noun))
    if len(things) == 2:
        for one, other in (things, things[::-1]):
            yield from ((number, True) for number in _overlap(facts, one[0], other[1]))


QUESTIONS = {
    "ignored": Question(_strengths, observations.WEAK_SHARE, lambda number, threshold: number < threshold),
    "spread out": Question(_coverages, observations.WIDE_COVERAGE, lambda number, threshold: number >= threshold),
    "same region": Question(_same_regions, observations.SAME_REGION, lambda number, threshold: number >= threshold),
    "neighbours apart": Question(_neighbours, observations.ELSEWHERE, lambda number, threshold: number <= threshold),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sweep", action="store_true", help="print the rates at every threshold too")
    options = parser.parse_args()
    captions = [
        replace(caption, text=f"{caption.text}, {UNKNOWN_WORDS[number % len(UNKNOWN_WORDS)]}")
        for number, caption in enumerate(make_captions(options.captions))
    ]
    halves: tuple[dict[str, list[Asked]], ...] = ({name: [] for name in QUESTIONS}, {name: [] for name in QUESTIONS})
    for number, sample in enumerate(generate_samples(captions, options.steps, keep_steps=False)):
        facts = gather(HeatMaps(sample.trace))
        for name, question in QUESTIONS.items():
            halves[number // 2 % 2][name] += question.ask(sample, facts)
    print(f"{len(captions)} captions, {options.steps} steps; {machine()}\n")
    print(f"{'':18} {'threshold':>9} {'hits':>6} {'false alarms':>12}   {'chosen':>6} {'hits':>6} {'false alarms':>12}")
    for name, question in QUESTIONS.items():
        chosen = question.best_threshold(halves[0][name])
        used, best = (question.rates(halves[1][name], each) for each in (question.threshold, chosen))
        print(f"{name:18} {question.threshold:9.2f} {used[0]:6.0%} {used[1]:12.0%}   "
              f"{chosen:6.2f} {best[0]:6.0%} {best[1]:12.0%}")  # fmt: skip
    if options.sweep:
        for name, question in QUESTIONS.items():
            print(f"\n{name}: threshold, hits, false alarms, of all captions")
            asked = halves[0][name] + halves[1][name]
            for threshold in np.linspace(0, 1, 21):
                hits, alarms = question.rates(asked, float(threshold))
                print(f"{threshold:5.2f} {hits:6.0%} {alarms:6.0%}")


if __name__ == "__main__":
    main()
