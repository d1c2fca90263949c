"""Of many keys, as joint attention has them, only the wanted ones are scored: the maps are those of a whole softmax."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from daam.prompt import PromptTable
from daam.tracing import attention, engine, layout
from daam.tracing.attention import log_sum_exp
from daam.tracing.block import Block
from daam.tracing.families.base import Attended
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.probe import Probe

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
TYPES = [(torch.float32, 2e-6), (torch.float16, 2e-4), (torch.bfloat16, 2e-4)]
HEADS, POSITIONS, TOKENS, CHANNELS = 3, 35, 333, 16


def keys_hidden(device: str, *, boolean: bool, positions: int = 1) -> Tensor:
    """Other ones in each row, and for each position if there are several."""
    seen = torch.ones(2, 1, positions, TOKENS, dtype=torch.bool, device=device)
    seen[0, ..., 7:90] = seen[1, ..., 200:] = False
    for position in range(positions - 1):
        seen[:, :, position, 20 + position :: 7] = False
    return seen if boolean else torch.zeros(seen.shape, device=device).masked_fill(~seen, -torch.inf)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("device", DEVICES)
def test_the_divisor_is_that_of_the_softmax(device: str, dtype: torch.dtype, tolerance: float, masked: bool) -> None:
    torch.manual_seed(0)
    query, key = (torch.randn(2, HEADS, places, CHANNELS, device=device).to(dtype) for places in (POSITIONS, TOKENS))
    bias = keys_hidden(device, boolean=False) if masked else None
    found = log_sum_exp(query, key, 0.3, bias)
    assert found is not None and found.dtype is torch.float32
    scores = query.double() @ key.double().transpose(-1, -2) * 0.3 + (0 if bias is None else bias)
    torch.testing.assert_close(found.double(), scores.logsumexp(-1), rtol=0, atol=tolerance)


def attended(device: str, mask: Tensor | None, *, is_flat: bool) -> Attended:
    """Of which `key_of` is a projection of the tests' own."""
    torch.manual_seed(1)
    query, *keys = (torch.randn(2, places, HEADS, CHANNELS, device=device) for places in (POSITIONS, 300, TOKENS - 300))
    if is_flat:
        query, keys = query.flatten(2), [key.flatten(2) for key in keys]

    def key_of(vectors: Tensor) -> Tensor:
        heads = vectors[..., None].expand(-1, -1, HEADS, CHANNELS)
        return heads.flatten(2) if is_flat else heads

    return Attended("a", query, tuple(keys), HEADS, None, (5, 7), 2, key_of, mask=mask)


def block_of(seen: Attended, rows: tuple[int, ...], *, by_head: bool, probed: bool = False) -> Block:
    probe = Probe(torch.tensor([[0.2], [0.5]]), PromptTable("sky, grass", ())) if probed else None
    worker = engine.Engine(keep_details=True, keep_heads=by_head, probe=probe)
    texts = tuple((row, TracedText(TextKey(row, "positive"), (3, 1 + row, 9), (9,), repeats=1 + row)) for row in rows)
    worker.see(seen, worker.wanted(texts))
    ((block,), _) = worker.finish()
    return block


def shown(block: Block) -> dict[TextKey, list[Tensor]]:
    """What its texts have of it: sums, and details where there are any."""
    found = {}
    for share in block.legend.shares:
        sums, detail = (each[:, share.row] for each in (block.sums, block.detail))
        found[share.text.key] = [sums[..., share.columns], detail[..., share.detail_columns]]
    return found


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize("rows", [(0, 1), (1,)])
@pytest.mark.parametrize("mask", ["", "boolean", "added", "other keys for each position"])
@pytest.mark.parametrize("device", DEVICES)
def test_maps_are_those_of_the_whole_softmax(
    device: str, mask: str, rows: tuple[int, ...], by_head: bool, probed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = POSITIONS if "position" in mask else 1
    hidden = keys_hidden(device, boolean=mask == "boolean", positions=positions) if mask else None
    seen, asked = attended(device, hidden, is_flat=bool(mask)), []

    def counted(*arguments: Any) -> Tensor | None:
        asked.append(log_sum_exp(*arguments))
        return asked[-1]

    monkeypatch.setattr(layout, "log_sum_exp", counted)
    found = block_of(seen, rows, by_head=by_head, probed=probed)
    monkeypatch.setattr(layout, "CHUNK_ELEMENTS", 1024)
    in_parts = block_of(seen, rows, by_head=by_head, probed=probed)
    assert len(asked) == 2 and None not in asked
    monkeypatch.setattr(layout, "MANY_TOKENS", 2 * TOKENS)
    monkeypatch.setattr(layout, "CHUNK_ELEMENTS", attention.CHUNK_ELEMENTS)
    whole = shown(block_of(seen, rows, by_head=by_head, probed=probed))
    assert len(asked) == 2 and len(whole) == len(rows) * (1 + probed)
    assert all(sums.min() > 0 for sums, _ in whole.values()) or mask
    monkeypatch.setattr(layout, "CACHED_ELEMENTS", 20 * TOKENS)  # a few positions at once
    bit_by_bit = block_of(seen, rows, by_head=by_head, probed=probed)
    for other in (shown(found), shown(in_parts), shown(bit_by_bit)):
        torch.testing.assert_close(other, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_changes_nothing(device: str) -> None:
    seen = attended(device, None, is_flat=True)
    expected = shown(block_of(seen, (0, 1), by_head=False, probed=True))
    with torch.autocast(device, dtype=torch.bfloat16):
        found = shown(block_of(seen, (0, 1), by_head=False, probed=True))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_where_torch_has_no_such_kernel_the_whole_softmax_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """In older ones, and on other devices."""
    seen = attended("cpu", None, is_flat=True)
    expected = block_of(seen, (0, 1), by_head=False)
    assert log_sum_exp(torch.randn(1, 1, 4, 8), torch.randn(1, 1, 4, 8).half(), 1.0) is None
    monkeypatch.setattr(layout, "log_sum_exp", lambda *_: None)
    found = block_of(seen, (0, 1), by_head=False)
    torch.testing.assert_close(found.sums, expected.sums, rtol=1e-5, atol=1e-6)
