"""A host may set a text behind itself, to be as long as another in its call: its maps are as if it stood once."""

from __future__ import annotations

import pytest
import torch

from daam.tracing.engine import Engine
from daam.tracing.families.base import Attended
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe

HEADS, CHANNELS, POSITIONS, TOKENS = 2, 8, 6, 5
ROWS = 2


def attended(keys: torch.Tensor, query: torch.Tensor, weight: torch.Tensor) -> Attended:
    return Attended("layer", query, (keys,), HEADS, None, (2, 3), key_of=lambda context: context @ weight)


def maps(keys: torch.Tensor, repeats: int, probe: Probe | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    query, weight = torch.randn(ROWS, POSITIONS, CHANNELS), torch.randn(3, CHANNELS)
    engine = Engine(keep_details=True, keep_heads=True, probe=probe)
    texts = (
        (0, TracedText(TextKey(0, "negative"), (1, 2), (1,))),
        (1, TracedText(TextKey(0, "positive"), (1, 3), (3,), repeats=repeats)),
    )
    engine.see(attended(keys, query, weight), engine.wanted(texts))
    ((block,), _) = engine.finish()
    found = {}
    for share in block.legend.shares:
        found[share.text.key.side] = block.sums[0, share.row][:, list(share.columns)]
        if share.detail_columns:
            assert block.detail is not None
            found[f"{share.text.key.side} by head"] = block.detail[0, share.row][..., list(share.detail_columns)]
    return found


@pytest.mark.parametrize("repeats", [2, 3])
@pytest.mark.parametrize("probed", [False, True])
def test_maps_are_those_of_the_text_that_stands_once(repeats: int, probed: bool) -> None:
    torch.manual_seed(0)
    keys = torch.randn(ROWS, TOKENS, CHANNELS)
    probe = Probe(torch.randn(2, 3), table=None) if probed else None  # type: ignore[arg-type]
    once, repeated = maps(keys, 1, probe), maps(keys.repeat(1, repeats, 1), repeats, probe)
    assert once.keys() == repeated.keys() and ("probe" in once) == probed
    torch.testing.assert_close(repeated["positive"], once["positive"])
    torch.testing.assert_close(repeated["positive by head"], once["positive by head"])
    if probed:
        torch.testing.assert_close(repeated["probe"], once["probe"])
    assert not torch.allclose(repeated["negative"], once["negative"]), "a text that stands there once is not touched"
