"""The heat maps are the paper's: recomputed the slow way, with attention that is materialised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import daam
from daam.errors import ShapeError
from daam.tracing.attention import are_exact, by_head, exponentials, probabilities
from daam.tracing.families.cross_attention import find_cross_attention_layers
from daam.tracing.memory import Scratch
from daam.tracing.operands import LANES, operand_of_keys, operand_of_queries
from tests.pipelines import FAMILIES, run, sd1

PROMPT = "a cute red circle and a carpet"


class Materialising:
    """An attention processor that computes everything itself and keeps the probabilities of every call."""

    def __init__(self) -> None:
        self.calls: list[Tensor] = []

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2).double()
            for projected in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        probabilities = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        if encoder_hidden_states is not None:
            self.calls.append(probabilities)
        mixed = (probabilities @ value).transpose(1, 2).flatten(2).to(hidden_states.dtype)
        return attn.to_out[1](attn.to_out[0](mixed))


def naive_map(calls: list[Tensor], columns: list[int], size: tuple[int, int], ratio: float) -> np.ndarray:
    """Each layer's, step's and head's map upscaled by itself, then summed; rows are [negative, positive]."""
    total = torch.zeros(size, dtype=torch.float64)
    for call in calls:
        for head in call[-1]:
            word = head[:, columns].mean(dim=1)
            height = round((word.numel() / ratio) ** 0.5)
            grid = word.view(1, 1, height, -1)
            total += functional.interpolate(grid, size, mode="bicubic", align_corners=False)[0, 0]
    return total.clamp(min=0).numpy()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(64, 64), (64, 128), (72, 64)])
def test_a_word_map_is_the_papers_sum(family: str, size: tuple[int, int]) -> None:
    pipeline, slow = FAMILIES[family](), Materialising()
    height, width = size
    with daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT, height=height, width=width)
    pipeline.unet.set_attn_processor(slow)
    run(pipeline, PROMPT, height=height, width=width)
    maps = tracer.heat_maps()
    for word, columns in {"circle": [4], "cute": [2], "a": [1, 6]}.items():
        naive = naive_map(slow.calls, columns, size, width / height)
        np.testing.assert_allclose(maps[word].values, naive, rtol=1e-5, atol=1e-5 * naive.max())


def test_a_model_of_half_precision_gives_the_maps_of_its_own_query_and_key() -> None:
    """The query and key that the layer really used, read by hooks of this test; the softmax in float64."""
    pipeline = sd1().to(torch.bfloat16)
    attention, seen = pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn2, []
    for projection in (attention.to_q, attention.to_k):
        projection.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with daam.trace(pipeline) as tracer:
        run(pipeline, PROMPT, num_inference_steps=1, guidance_scale=1.0)
    query, key = (output.unflatten(-1, (attention.heads, -1)).transpose(1, 2).double() for output in seen)
    assert seen[0].dtype == torch.bfloat16
    probabilities = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    naive = naive_map([probabilities], [4], (64, 64), 1)
    circle = tracer.heat_maps().select(layers="mid_block.*")["circle"].values
    np.testing.assert_allclose(circle, naive, rtol=1e-5, atol=1e-6)


def test_a_mask_is_where_the_map_reaches_its_share_of_the_maximum() -> None:
    with daam.trace(pipeline := sd1()) as tracer:
        run(pipeline, PROMPT)
    circle = tracer.heat_maps()["circle"]
    for threshold in (0.0, 0.4, 0.99, 1.0):
        assert (circle.mask(threshold) == (circle.values >= np.float32(threshold) * circle.values.max())).all()
    assert circle.mask(1.0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_probabilities_are_computed_in_float32_over_all_keys(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key = (8 * torch.randn(2, 3, 50, 16)).to(dtype), (8 * torch.randn(2, 3, 77, 16)).to(dtype)
    exact = (query.double() @ key.double().transpose(-1, -2) * 0.3).softmax(-1)
    scratch = Scratch()
    queries, keys = operand_of_queries(query[None], scratch), operand_of_keys(key[None], scratch)
    assert keys.dtype == torch.float32 and keys.shape[-1] % LANES == 0, "they are filled up"
    found = probabilities(queries, keys[..., :77], 0.3)
    torch.testing.assert_close(found.double(), exact.flatten(0, 1), rtol=1e-4, atol=1e-6)
    undivided = torch.empty(6, 50, 80)
    exponentials(queries, keys, 0.03, torch.zeros(1), undivided)
    undivided = undivided[..., :77]
    exact = (query.double() @ key.double().transpose(-1, -2) * 0.03).softmax(-1)
    found = undivided / undivided.sum(-1, keepdim=True)
    torch.testing.assert_close(found.double(), exact.flatten(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("score", "exact"), [(0.0, True), (-68.0, True), (84.0, True), (-74.0, False), (86.0, False), (torch.nan, False)]
)
def test_exponentials_that_float32_cannot_hold_are_noticed(score: float, exact: bool) -> None:
    """77 equal scores: of -74 the sum is below 2**-100, of 86 it is infinite."""
    room = torch.empty(1, 2, 77)
    query = torch.tensor([[[0.0], [score]]])
    exponentials(query, torch.ones(1, 1, 77), 1.0, torch.zeros(1), room)
    sums = room.sum(-1)
    assert are_exact(sums) == exact
    if exact:
        torch.testing.assert_close(room / sums[..., None], torch.full_like(room, 1 / 77))


def test_no_autocast_makes_them_less_exact() -> None:
    query, key = 8 * torch.randn(3, 50, 16), 8 * torch.randn(3, 16, 77)
    exact = probabilities(query, key, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(probabilities(query, key, 0.3), exact)


@pytest.mark.parametrize(
    ("rows", "places"), [(range(3), range(5)), (range(1, 2), range(3)), (range(1, 3), range(2, 5))]
)
def test_rows_are_chosen_and_heads_split_without_a_copy(rows: range, places: range) -> None:
    joined = torch.arange(3 * 2 * 5 * 8.0).view(3, 10, 8)
    view = by_head(joined, 2, heads=4, rows=rows, places=places)
    slow = joined.view(3, 2, 5, 4, 2).transpose(0, 1)[:, list(rows)].transpose(2, 3)
    assert view.untyped_storage().data_ptr() == joined.untyped_storage().data_ptr()
    assert torch.equal(view, slow[..., list(places), :])


@pytest.mark.parametrize("keep", [(), ("steps", "heads")])
@pytest.mark.parametrize(
    ("limit", "elements"),
    [("CHUNK_ELEMENTS", 1), ("CHUNK_ELEMENTS", 2_000), ("CHUNK_ELEMENTS", 20_000), ("CACHED_ELEMENTS", 2_000)],
)
def test_maps_are_the_same_in_parts_and_in_groups(
    limit: str, elements: int, keep: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = sd1()
    maps = []
    for _ in range(2):
        with daam.trace(pipeline, keep=keep, probe="dog") as tracer:
            run(pipeline, PROMPT)
        maps.append(tracer)
        monkeypatch.setattr(f"daam.tracing.layout.{limit}", elements)
    for side in ("positive", "probe"):
        whole, parted = (tracer.heat_maps(side=side) for tracer in maps)
        for word in whole:
            np.testing.assert_allclose(parted[word].values, whole[word].values, rtol=1e-5)
    if keep:
        heads = [tracer.heat_maps().select(steps=(1, 1), heads=[1])["circle"].values for tracer in maps]
        np.testing.assert_allclose(heads[0], heads[1], rtol=1e-5)


@pytest.mark.parametrize("probe", ["", "dog"])
def test_maps_of_scores_that_are_too_high_for_exponentials_are_the_softmaxs(
    probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far above what a model has; of a probe, too, whose tokens share the softmax."""
    pipeline, maps, answers = sd1(), [], []
    for layer in find_cross_attention_layers(pipeline.unet):
        layer.attention.to_q.weight.data *= 200

    def asked(sums: Tensor) -> bool:
        answers.append(are_exact(sums))
        return answers[-1]

    monkeypatch.setattr("daam.tracing.shares.are_exact", asked)
    for _ in range(2):
        with daam.trace(pipeline, keep="heads", probe=probe) as tracer:
            run(pipeline, PROMPT, negative_prompt="ugly", num_inference_steps=4)
        maps.append(tracer)
        monkeypatch.setattr("daam.tracing.operands.is_processor", lambda _device: False)
    layouts = len(find_cross_attention_layers(pipeline.unet))
    assert 0 < answers.count(False) <= layouts, "once it was seen, it is not tried again"
    for side in ("positive", "negative") + (("probe",) if probe else ()):
        usual, other = (tracer.heat_maps(side=side) for tracer in maps)
        for word in usual:
            np.testing.assert_allclose(usual[word].values, other[word].values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("keep", [(), ("steps", "heads")])
def test_maps_made_as_on_a_graphics_card_are_those_of_a_processor(
    keep: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There keys are not filled up, a softmax divides all shares, and groups are larger."""
    pipeline, maps = sd1(), []
    for _ in range(2):
        with daam.trace(pipeline, keep=keep, probe="dog") as tracer:
            run(pipeline, PROMPT, negative_prompt="ugly", num_inference_steps=4)
        maps.append(tracer)
        monkeypatch.setattr("daam.tracing.operands.is_processor", lambda _device: False)
    for side in ("positive", "negative", "probe"):
        usual, other = (tracer.heat_maps(side=side) for tracer in maps)
        for word in usual:
            np.testing.assert_allclose(other[word].values, usual[word].values, rtol=1e-5)


def test_channels_that_cannot_be_divided_are_named() -> None:
    with pytest.raises(ShapeError, match="divisible by 3 heads"):
        by_head(torch.zeros(1, 2, 8), 1, heads=3, rows=range(1), places=range(2))
