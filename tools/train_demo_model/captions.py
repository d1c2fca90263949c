"""Captions of scenes, every word linked to the mask it speaks of. Knows no drawing and no tokenizer."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from .scenes import SIZE, Plan, SceneObject

STARTS = (
    "a photo of", "a picture of", "a drawing of", "an image of", "a painting of", "a simple drawing of", "photo of",
    "a cartoon of", "an illustration of", "there is",
)  # fmt: skip
SIZE_WORDS = {"small": ("small", "small", "tiny", "little"), "big": ("big", "large", "large", "huge")}
SYNONYMS = {
    "circle": ("circle", "circle", "circle", "circle", "ball", "disc"),
    "boat": ("boat", "boat", "sailboat"),
    "mushroom": ("mushroom", "mushroom", "toadstool"),
    "cat": ("cat", "cat", "cat", "cat face"),
}
USUAL_COLOR = {"sun": "yellow", "moon": "white", "cloud": "white", "tree": "green", "mushroom": "red"}
"""A thing of its usual colour is often named without the colour."""
HELD_OUT_SHARE = 20
"""One caption in this many is never trained on."""


@dataclass(frozen=True)
class Word:
    """A word and what it speaks of: an object's index, a region's name, or nothing."""

    text: str
    subject: int | str | None = None


def caption_text(words: list[Word]) -> str:
    """The caption as it is typed."""
    return " ".join(word.text for word in words).replace(" ,", ",")


def is_held_out(text: str) -> bool:
    """Whether a caption belongs to the evaluation and never to the training; decided by its text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELD_OUT_SHARE == 0


def make_caption(rng: random.Random, plan: Plan) -> list[Word]:
    """A random wording that is not held out."""
    while True:
        words = _opening(rng) + _objects(rng, plan.objects) + _surroundings(rng, plan)
        if not is_held_out(caption_text(words)):
            return words


def with_article(noun_phrase: str) -> str:
    """`a` or `an` before a noun phrase."""
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"


def _plain(text: str) -> list[Word]:
    return [Word(part) for part in text.split()]


def _about(text: str, subject: int | str) -> list[Word]:
    return [Word(part, subject) for part in text.split()]


def _opening(rng: random.Random) -> list[Word]:
    return _plain(rng.choice(STARTS)) if rng.random() < 0.38 else []


def _noun_phrase(rng: random.Random, thing: SceneObject, index: int) -> list[Word]:
    described = []
    if thing.size in SIZE_WORDS and rng.random() < 0.7:
        described.append(rng.choice(SIZE_WORDS[thing.size]))
    if USUAL_COLOR.get(thing.kind) != thing.color or rng.random() < 0.45:
        described.append("grey" if thing.color == "gray" and rng.random() < 0.3 else thing.color)
    described.append(rng.choice(SYNONYMS.get(thing.kind, (thing.kind,))))
    words = _about(" ".join(described), index)
    if rng.random() < 0.07:
        return words
    article = with_article(words[0].text).split()[0]
    if thing.kind in ("sun", "moon") and rng.random() < 0.5:
        article = "the"
    return [Word(article), *words]


def _relation(rng: random.Random, first: SceneObject, second: SceneObject) -> str:
    """How `first` stands to `second`, true of the drawn positions."""
    right, down = second.x - first.x, second.y - first.y
    if abs(right) > 1.5 * abs(down) and abs(right) > 20:
        side = "left" if right > 0 else "right"
        return rng.choice([f"to the {side} of", f"{side} of"])
    if abs(down) > 1.5 * abs(right) and abs(down) > 20:
        return rng.choice(["above", "over"] if down > 0 else ["below", "under"])
    return rng.choice(["and", "next to", "and", "with"])


def _side(thing: SceneObject, middle: float) -> list[Word]:
    return _plain("on the left" if thing.x < middle else "on the right")


def _objects(rng: random.Random, objects: list[SceneObject]) -> list[Word]:
    order = list(range(len(objects)))
    rng.shuffle(order)
    phrases = [_noun_phrase(rng, objects[index], index) for index in order]
    things = [objects[index] for index in order]
    if len(things) == 1:
        named_side = abs(things[0].x - SIZE / 2) > 18 and rng.random() < 0.3
        return phrases[0] + (_side(things[0], SIZE / 2) if named_side else [])
    if len(things) == 2:
        return _two_objects(rng, phrases, things)
    first_link = rng.choice([_plain(_relation(rng, things[0], things[1])), [Word(",")], [Word("and")]])
    return phrases[0] + first_link + phrases[1] + [Word("and")] + phrases[2]


def _two_objects(rng: random.Random, phrases: list[list[Word]], things: list[SceneObject]) -> list[Word]:
    kind = rng.random()
    if kind < 0.5:
        return phrases[0] + _plain(_relation(rng, things[0], things[1])) + phrases[1]
    if kind < 0.62 and abs(things[0].x - things[1].x) > 30:
        middle = (things[0].x + things[1].x) / 2
        return phrases[0] + _side(things[0], middle) + [Word("and")] + phrases[1] + _side(things[1], middle)
    return phrases[0] + _plain(rng.choice(["and", "and", "and", "next to", "with", ","])) + phrases[1]


GROUND_WORDS = {
    "grass": ("grass", "grass", "green grass"),
    "sand": ("sand", "the beach"),
    "snow": ("snow", "white snow"),
    "sea": ("the sea", "water", "blue water"),
}
SKY_PHRASES = {
    "night": ("at night", "under a dark sky", "in the night sky"),
    "sunset": ("at sunset", "under an orange sky"),
    "day": ("under a blue sky", "under the sky", "on a sunny day"),
}
SKY_WORDS = frozenset(["night", "dark", "sky", "sunset", "orange", "blue", "sunny", "day"])
SKY_NAMED = {"night": 0.85, "sunset": 0.85, "day": 0.4}


def _surroundings(rng: random.Random, plan: Plan) -> list[Word]:
    if plan.is_outdoor:
        return _outdoors(rng, plan)
    if rng.random() > 0.8:
        return []
    color = "grey" if plan.background == "gray" and rng.random() < 0.3 else str(plan.background)
    named = _about(color, "background") + _about("background", "background")
    on_a = _plain("on " + with_article(color).split()[0])
    return rng.choice([on_a + named, on_a + named, on_a + named, [Word(","), *named], _plain("on") + named[:1]])


def _outdoors(rng: random.Random, plan: Plan) -> list[Word]:
    words: list[Word] = []
    if rng.random() < 0.75:
        phrase = rng.choice(GROUND_WORDS[str(plan.ground)])
        words += [Word("on"), *(Word(part, None if part == "the" else "ground") for part in phrase.split())]
    if rng.random() < SKY_NAMED[str(plan.sky)]:
        phrase = rng.choice(SKY_PHRASES[str(plan.sky)])
        words += [Word(part, "sky" if part in SKY_WORDS else None) for part in phrase.split()]
    return words
