"""Scenes with one to three objects, an exact mask for each object and each region. Knows no caption."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from .drawing import EXTENT, GROUND_THINGS, KINDS, SHAPES, SKY_THINGS, Pen
from .palette import GROUNDS, RGB, SKIES, Color, distance, jitter, shade

SIZE = 128
SUPERSAMPLING = 2
RADII = {"small": (12, 16), "normal": (20, 28), "big": (31, 42)}
"""Radius in pixels that each size word stands for."""
SHAPE_COLORS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "white", "black")
THING_COLORS: dict[str, tuple[str, ...]] = {
    "sun": ("yellow", "yellow", "yellow", "orange", "red"),
    "moon": ("white", "yellow"),
    "cloud": ("white", "white", "gray"),
    "balloon": ("red", "blue", "green", "yellow", "purple", "pink", "orange"),
    "tree": ("green", "green", "green", "orange", "pink"),
    "house": ("red", "blue", "yellow", "white", "orange", "purple", "pink", "brown"),
    "car": ("red", "blue", "yellow", "green", "orange", "purple", "white", "black"),
    "cat": ("orange", "black", "white", "gray", "brown"),
    "flower": ("red", "pink", "purple", "yellow", "orange", "blue", "white"),
    "boat": ("red", "blue", "brown", "green", "black"),
    "mushroom": ("red", "orange", "purple", "brown"),
}
BACKGROUNDS = ("white", "black", "gray") * 3 + ("blue", "green", "yellow", "pink", "red", "orange", "purple", "brown")
LEAST_CONTRAST = 130
"""Least colour distance between an object and a plain background."""


@dataclass(frozen=True)
class SceneObject:
    """One drawn object; x, y and radius in pixels of the finished picture."""

    kind: str
    color: str
    size: str
    x: float
    y: float
    radius: float


@dataclass
class Plan:
    """What a scene will show, before it is drawn."""

    background: str | None = None
    ground: str | None = None
    sky: str | None = None
    horizon: float = 0.0
    objects: list[SceneObject] = field(default_factory=list)

    @property
    def is_outdoor(self) -> bool:
        return self.ground is not None

    @property
    def has_small(self) -> bool:
        return any(thing.size == "small" for thing in self.objects)


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    Attributes:
        picture: [128, 128, 3] uint8, RGB.
        masks: one [128, 128] uint8 mask for each object of the plan, what is seen of it, 0..255.
        regions: masks of "background", or of "ground" and "sky", without the objects.
    """

    picture: np.ndarray
    plan: Plan
    masks: list[np.ndarray]
    regions: dict[str, np.ndarray]


def make_scene(rng: random.Random) -> Scene:
    """A random scene; the same state of `rng` gives the same scene."""
    plan = Plan()
    while not plan.objects:
        plan = _plan_outdoor(rng) if rng.random() < 0.38 else _plan_plain(rng)
        _place_objects(rng, plan)
    return draw_scene(rng, plan)


def scene_with_something_small(rng: random.Random, small_share: float) -> Scene:
    """A random scene; with this chance one that has a small object, which is drawn anew until it has."""
    wants_small = rng.random() < small_share
    while True:
        scene = make_scene(rng)
        if not wants_small or scene.plan.has_small:
            return scene


def draw_scene(rng: random.Random, plan: Plan) -> Scene:
    """Draws a plan; `rng` decides the texture and small differences of colour."""
    picture = _draw_outdoor(rng, plan) if plan.is_outdoor else _draw_plain(rng, plan)
    masks = []
    for thing in plan.objects:
        mask = Image.new("L", picture.size, 0)
        center = (thing.x * SUPERSAMPLING, thing.y * SUPERSAMPLING)
        pen = Pen(picture, mask, center, thing.radius * SUPERSAMPLING)
        KINDS[thing.kind](pen, jitter(rng, RGB[thing.color], 9))
        masks.append(np.asarray(mask.resize((SIZE, SIZE), Image.BOX)))
    seen = _occlude(masks)
    anything = np.max(seen, axis=0)
    regions = {name: np.minimum(mask, 255 - anything) for name, mask in _region_masks(plan).items()}
    return Scene(np.asarray(picture.resize((SIZE, SIZE), Image.BOX)), plan, seen, regions)


def _plan_outdoor(rng: random.Random) -> Plan:
    sky = rng.choices(list(SKIES), [0.6, 0.25, 0.15])[0]
    return Plan(ground=rng.choice(list(GROUNDS)), sky=sky, horizon=rng.uniform(0.5, 0.72) * SIZE)


def _plan_plain(rng: random.Random) -> Plan:
    return Plan(background=rng.choice(BACKGROUNDS))


def _place_objects(rng: random.Random, plan: Plan) -> None:
    """Adds up to the drawn number of objects; one that finds no free place is left out."""
    wanted = rng.choices([1, 2, 3], [0.35, 0.5, 0.15])[0]
    for _ in range(60):
        if len(plan.objects) == wanted:
            return
        thing = _random_object(rng, plan, wanted)
        if thing is not None and _fits(rng, plan, thing):
            plan.objects.append(thing)
            plan.objects.sort(key=lambda other: other.y)


def _random_object(rng: random.Random, plan: Plan, wanted: int) -> SceneObject | None:
    kind = _random_kind(rng, plan)
    size = rng.choices(list(RADII), [0.15, 0.6, 0.25] if wanted < 3 else [0.3, 0.7, 0.0])[0]
    radius = rng.uniform(*RADII[size])
    color = rng.choice(THING_COLORS.get(kind, SHAPE_COLORS))
    margin = radius * EXTENT + 1
    if plan.is_outdoor:
        top, bottom = margin, SIZE - margin
        if kind in SKY_THINGS:
            bottom = max(top, plan.horizon - radius * 0.9)
        else:
            top = max(top, plan.horizon - radius * 0.5)
        if top > bottom:
            return None
        y = rng.uniform(top, bottom)
    else:
        y = rng.uniform(margin, SIZE - margin)
    return SceneObject(kind, color, size, rng.uniform(margin, SIZE - margin), y, radius)


def _random_kind(rng: random.Random, plan: Plan) -> str:
    if not plan.is_outdoor:
        return rng.choice(list(SHAPES)) if rng.random() < 0.78 else rng.choice(list(KINDS))
    if rng.random() < 0.4:
        return rng.choice([kind for kind in SKY_THINGS if not (kind == "sun" and plan.sky == "night")])
    return "boat" if plan.ground == "sea" else rng.choice([kind for kind in GROUND_THINGS if kind != "boat"])


def _fits(rng: random.Random, plan: Plan, thing: SceneObject) -> bool:
    if plan.background is not None and distance(thing.color, plan.background) < LEAST_CONTRAST:
        return False
    if plan.is_outdoor and not _stands_out(plan, thing):
        return False
    for other in plan.objects:
        if other.kind == thing.kind and (other.color == thing.color or rng.random() < 0.75):
            return False
        if math.hypot(thing.x - other.x, thing.y - other.y) < (thing.radius + other.radius) * 1.05:
            return False
    return True


def _stands_out(plan: Plan, thing: SceneObject) -> bool:
    if thing.kind in SKY_THINGS:
        return not (plan.sky == "sunset" and thing.color == "orange")
    unseen = {"grass": ("green",), "snow": ("white",), "sea": ("blue",), "sand": ()}
    return thing.kind == "tree" or thing.color not in unseen[str(plan.ground)]


def _draw_plain(rng: random.Random, plan: Plan) -> Image.Image:
    """A background of one colour, sometimes with a faint gradient or faint noise."""
    side = SIZE * SUPERSAMPLING
    color = np.array(jitter(rng, RGB[str(plan.background)], 8), np.float32)
    pixels = np.broadcast_to(color, (side, side, 3))
    texture = rng.choices(["plain", "gradient", "noise"], [0.7, 0.15, 0.15])[0]
    if texture == "gradient":
        pixels = pixels * np.linspace(1, rng.uniform(0.82, 0.95), side)[:, None, None]
    elif texture == "noise":
        noise = np.random.RandomState(rng.randrange(1 << 30)).randn(16, 16).astype(np.float32) * 5
        pixels = pixels + np.asarray(Image.fromarray(noise).resize((side, side), Image.BICUBIC))[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _draw_outdoor(rng: random.Random, plan: Plan) -> Image.Image:
    side, horizon = SIZE * SUPERSAMPLING, int(plan.horizon * SUPERSAMPLING)
    sky, ground = jitter(rng, SKIES[str(plan.sky)], 8), jitter(rng, GROUNDS[str(plan.ground)], 8)
    picture = Image.new("RGB", (side, side), sky)
    draw = ImageDraw.Draw(picture)
    if plan.sky == "night":
        for _ in range(14):
            x, y = rng.uniform(0, side), rng.uniform(0, horizon)
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(230, 230, 200))
    draw.rectangle((0, horizon, side, side), fill=ground)
    _draw_ground_texture(rng, draw, str(plan.ground), ground, horizon, side)
    return picture


def _draw_ground_texture(
    rng: random.Random, draw: ImageDraw.ImageDraw, name: str, color: Color, horizon: int, side: int
) -> None:
    if name not in ("grass", "sea"):
        return
    for _ in range(26):
        x, y, length = rng.uniform(0, side), rng.uniform(horizon + 4, side), rng.uniform(4, 10)
        if name == "grass":
            draw.line((x, y, x + 2, y - length), fill=shade(color, 0.85), width=2)
        else:
            draw.line((x - length * 1.4, y, x + length * 1.4, y), fill=shade(color, 1.25), width=2)


def _occlude(masks: list[np.ndarray]) -> list[np.ndarray]:
    """What is seen of each object when later ones are drawn over it."""
    seen = []
    for index, mask in enumerate(masks):
        for later in masks[index + 1 :]:
            mask = np.minimum(mask, 255 - later)
        seen.append(mask)
    return seen


def _region_masks(plan: Plan) -> dict[str, np.ndarray]:
    if not plan.is_outdoor:
        return {"background": np.full((SIZE, SIZE), 255, np.uint8)}
    ground = np.zeros((SIZE, SIZE), np.uint8)
    ground[int(plan.horizon) :] = 255
    return {"ground": ground, "sky": 255 - ground}
