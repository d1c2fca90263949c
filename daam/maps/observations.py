"""Says in plain words what the heat maps of a picture show. One function and one entry of `OBSERVATIONS` for each.

Only what a prompt writer can act on: a word that should be somewhere and is not, or two that are in each other's way.
What is said is about attention: whether a word matters to the picture is only shown by leaving it out (see
`daam.studies.study`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from daam.maps.heat_maps import HeatMaps
from daam.maps.statistics import term_statistics
from daam.prompt.content import names_something
from daam.prompt.typed_words import entry_words, words_of

# The thresholds were chosen on the embedded model, where the truth is known: see benchmarks/observations.py.
WEAK_SHARE = 0.7
"""A word counts as ignored below this share of the median strength of the prompt's words."""
WIDE_COVERAGE = 0.7
"""A word counts as spread over everything from this share of the picture on."""
SAME_REGION = 0.7
"""Two words are on one region from this IoU of their masks on."""
MEASURED = ("strength", "coverage", "overlap")
MOST_WORDS = 300
"""So many words of a prompt are looked at, from its beginning: pairs are many."""
ELSEWHERE = 0.2
"""Two neighbours lie apart up to this IoU of their masks."""


@dataclass(frozen=True)
class Facts:
    """The words of the prompt that name something, with their statistics.

    Attributes:
        scheduled: those that are not there in every step, as in [cat:dog:0.5].
    """

    heat_maps: HeatMaps
    words: dict[str, dict[str, Any]]
    neighbours: tuple[tuple[str, str], ...]
    scheduled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Observation:
    """One sentence, and the words that it is about, as they are looked up."""

    text: str
    terms: tuple[str, ...]


def ignored(facts: Facts) -> Iterator[Observation]:
    """Words that get far less attention than the others, the weakest first.

    Of words that are there for some steps it is not known.
    """
    strengths = {word: numbers["strength"] for word, numbers in facts.words.items() if word not in facts.scheduled}
    if len(strengths) < 3:
        return
    median = float(np.median(list(strengths.values())))
    for word, strength in sorted(strengths.items(), key=lambda item: item[1]):
        share = strength / median if median else 1.0
        if share < WEAK_SHARE:
            yield Observation(f"“{word}” got little attention: {share:.0%} of a typical word's.", (word,))


def spread_out(facts: Facts) -> Iterator[Observation]:
    """Words that are nearly everywhere, while a word beside them has its place: a background may be everywhere."""
    for first, second in facts.neighbours:
        for word, other in ((first, second), (second, first)):
            coverage = facts.words[word]["coverage"]
            if coverage >= WIDE_COVERAGE and _are_local(facts, other):
                text = f"“{word}” has no place of its own: it covers {coverage:.0%} of the picture, “{other}” beside it"
                yield Observation(f"{text} {facts.words[other]['coverage']:.0%}.", (word, other))


def same_region(facts: Facts) -> Iterator[Observation]:
    """Pairs of words, not of one phrase, that look at one place."""
    phrase = _phrases(facts)
    order = {word: number for number, word in enumerate(facts.words) if _are_local(facts, word)}
    for first in order:
        for second, overlap in facts.words[first]["overlap"].items():
            if overlap >= SAME_REGION and order.get(second, -1) > order[first] and phrase[first] != phrase[second]:
                text = f"“{first}” and “{second}” are in each other's way: their regions overlap by {overlap:.0%}."
                yield Observation(text, (first, second))


def neighbours_apart(facts: Facts) -> Iterator[Observation]:
    """Words side by side in the prompt, as an adjective and its noun, that look at different places."""
    for first, second in facts.neighbours:
        overlap = facts.words[first]["overlap"].get(second, 0.0)
        if overlap <= ELSEWHERE and _are_local(facts, first, second):
            text = f"“{first}” is not where “{second}” beside it is: their regions overlap by {overlap:.0%}."
            yield Observation(text, (first, second))


def cut_by_border(facts: Facts) -> Iterator[Observation]:
    """Words whose pieces lie in two chunks of 75 tokens."""
    cut: dict[str, None] = {}
    for part in facts.heat_maps.table.parts:
        for entry in part.schedule:
            clip = sum(len(chunk.tokens) for chunk in entry.chunks)  # columns behind these are another encoder's
            for word in entry_words(entry):
                if len({entry.columns[column].chunk for column in word.columns if column < clip}) > 1:
                    cut[word.text] = None
    for word_text in cut:
        text = f"“{word_text}” is cut in two by the border of 75 tokens; move it, or write BREAK before it."
        yield Observation(text, (word_text,))


OBSERVATIONS: dict[str, Callable[[Facts], Iterator[Observation]]] = {
    "ignored": ignored,
    "spread out": spread_out,
    "same region": same_region,
    "neighbours apart": neighbours_apart,
    "cut by the border": cut_by_border,
}


def observe(heat_maps: HeatMaps) -> list[dict[str, Any]]:
    """Every observation: its kind, the sentence, and the words that it is about."""
    facts = gather(heat_maps)
    return [
        {"kind": kind, "text": found.text, "terms": list(found.terms)}
        for kind, function in OBSERVATIONS.items()
        for found in function(facts)
    ]


def most_telling(observations: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many of what `observe` gave: the first of each kind before the second of any."""
    seen: dict[str, int] = {}
    ranked = []
    for each in observations:
        seen[each["kind"]] = seen.get(each["kind"], 0) + 1
        ranked.append((seen[each["kind"]], each))
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])][:most]


def gather(heat_maps: HeatMaps) -> Facts:
    """The facts of the prompt's words that name something and have a map."""
    named = [word for word in heat_maps if names_something(word)][:MOST_WORDS]
    statistics, neighbours = term_statistics(heat_maps, named, names=MEASURED), tuple(_neighbours(heat_maps, named))
    return Facts(heat_maps, statistics, neighbours, frozenset(_scheduled(heat_maps)))


def _scheduled(heat_maps: HeatMaps) -> Iterator[str]:
    for part in heat_maps.table.parts:
        texts = [{word.text.lower() for word in entry_words(entry)} for entry in part.schedule]
        yield from texts[0].union(*texts) - texts[0].intersection(*texts)


def _neighbours(heat_maps: HeatMaps, named: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs that stand side by side in some text, with nothing between them."""
    seen, known = set(), set(named)
    for part in heat_maps.table.parts:
        for entry in part.schedule:
            texts = [word.text.lower() for word in words_of(entry).words]  # a comma between two parts them
            for pair in zip(texts, texts[1:]):
                if pair not in seen and known.issuperset(pair):
                    seen.add(pair)
                    yield pair


def _phrases(facts: Facts) -> dict[str, str]:
    """Each word to the first word of its phrase: words that stand side by side, one after the other."""
    phrase = {word: word for word in facts.words}
    for first, second in facts.neighbours:
        old, new = phrase[second], phrase[first]
        phrase = {word: new if kept == old else kept for word, kept in phrase.items()}
    return phrase


def _are_local(facts: Facts, *words: str) -> bool:
    """Whether each looks at a place at all."""
    return all(facts.words[word]["coverage"] < WIDE_COVERAGE for word in words)
