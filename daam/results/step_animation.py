"""A term's heat map over the steps of the sampling, as frames of an animation. Knows no model and no file."""

from __future__ import annotations

import numpy as np
from PIL import Image

from daam.errors import NotKeptError
from daam.maps.heat_maps import HeatMaps
from daam.maps.scales import apply_scale
from daam.pictures.tile import term_tile
from daam.prompt.terms import parse_terms


def step_frames(
    maps: HeatMaps, term: str, picture: Image.Image, *, opacity: float = 0.5, colormap: str = "turbo"
) -> list[Image.Image]:
    """One captioned frame for each model call at which the term was active, all on one scale.

    Args:
        maps: of a trace that kept its steps.
        picture: the finished picture, which lies under every frame.

    Raises:
        NotKeptError: the trace did not keep steps.
        TermError: the term has no map.
    """
    if "steps" not in maps.trace.keep:
        raise NotKeptError('steps were not kept: trace with `daam.trace(pipe, keep="steps")`, or `daam --animate gif`')
    places = {(place.part, place.entry) for place in maps[term].places}
    calls = sorted(
        step
        for key, text in maps.trace.texts.items()
        if key.side == maps.side and (key.part, key.entry) in places
        for step in text.steps
    )
    stack = np.stack([maps.select(steps=(call, call))[term].values for call in calls])
    name = parse_terms(term)[0].text
    return [
        term_tile(picture, frame, f"{name} · step {call + 1}", opacity=opacity, colormap=colormap)
        for call, frame in zip(calls, apply_scale("shared", stack, stack[0]))
    ]
