"""The refined maps of one picture's texts, made at the end along what the model's latest call attended to itself with.

A fault here costs the refined maps alone: the plain ones and the picture are there already.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from daam.errors import DaamError, describe
from daam.tracing.latest import LatestOfImage, LatestSelfAttention
from daam.tracing.plan import TextKey
from daam.tracing.refining import OnRows, on_grid, refine
from daam.tracing.text_maps import TextMaps

logger = logging.getLogger(__name__)
SECONDS_WITHOUT_A_BAR = 1.0


def with_refined(
    texts: Mapping[TextKey, TextMaps], latest: LatestSelfAttention, image: int
) -> tuple[dict[TextKey, TextMaps], str]:
    """The texts with refined maps of the words that name something, of the positive prompt and of probe words.

    A progress bar is shown where it takes seconds.

    Args:
        texts: all of one picture, on any device.

    Returns:
        The texts, and why they have no refined maps: empty where they have.
    """
    try:
        along = latest.of(image)
        rows = {key: _columns_of(text) for key, text in texts.items() if key.side != "negative" and text.sums}
        chosen = {key: columns for key, columns in rows.items() if columns}
        parts = sorted({key.part for key in chosen})
        count = sum(layer.heads * len(layer.query) for part in parts for layer in along.of(part))
        refined: dict[TextKey, TextMaps] = {}
        with tqdm(total=count, desc="refined maps", unit="row", delay=SECONDS_WITHOUT_A_BAR) as bar:
            for part in parts:
                some = {key: texts[key] for key in chosen if key.part == part}
                refined |= _refined(some, chosen, along, part, bar.update)
    except Exception as error:  # whatever it is, the plain maps are there
        if not isinstance(error, DaamError):
            logger.warning("no refined maps: %s", describe(error), exc_info=logger.isEnabledFor(logging.DEBUG))
        return dict(texts), describe(error)
    return {**texts, **refined}, ""


def _columns_of(text: TextMaps) -> tuple[int, ...]:
    return text.text.columns if text.text.key.side == "probe" else text.text.refined_columns


def _refined(
    texts: Mapping[TextKey, TextMaps],
    columns: Mapping[TextKey, tuple[int, ...]],
    along: LatestOfImage,
    part: int,
    on_rows: OnRows,
) -> dict[TextKey, TextMaps]:
    """The texts of one part, carried together: what costs is the self-attention, not the number of maps."""
    layers = along.of(part)
    device = layers[0].query.device
    maps = [_on_grid(text, columns[key], along.size).to(device) for key, text in texts.items()]
    refined = refine(torch.cat(maps), layers, on_rows).cpu().split([len(each) for each in maps])
    return {
        key: replace(text, text=replace(text.text, refined_columns=columns[key]), refined=own.clone())
        for (key, text), own in zip(texts.items(), refined)
    }


def _on_grid(text: TextMaps, columns: tuple[int, ...], size: tuple[int, int]) -> Tensor:
    places = [text.text.columns.index(column) for column in columns]
    return on_grid([maps[places] for maps in text.sums.values()], size)
