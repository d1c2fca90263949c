"""Refined maps: against full matrices done naively, kept within a budget, and refused where they would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import daam
from daam.errors import NotKeptError, SettingError, ShapeError, TraceError
from daam.tracing import latest, refined_maps, refining
from daam.tracing.families.base import SelfAttended
from daam.tracing.latest import ASKED, BY_THE_WAY, Budget, LatestSelfAttention
from daam.tracing.refining import SelfAttention, on_grid, refine
from tests.pipelines import FAMILIES, as_kind, run, sd1, sdxl
from tests.tracing.test_hooks import hooks
from tests.tracing.test_recognised_rows import pag
from tests.tracing.test_untouched_pictures import BACKENDS

PROMPT = "a red circle and a blue square"
CONTENT = ["red", "circle", "blue", "square"]


@contextmanager
def self_attention_of(unet: nn.Module) -> Iterator[dict[str, list[dict[str, Tensor]]]]:
    """For each self-attention its query and key in each call, from hooks of the tests' own."""
    seen: dict[str, list[dict[str, Tensor]]] = {}
    handles = []
    for name, module in unet.named_modules():
        if name.endswith("attn1"):
            for part in ("to_q", "to_k"):

                def see(_: Any, __: Any, output: Tensor, name: str = name, part: str = part) -> None:
                    if part == "to_q":
                        seen.setdefault(name, []).append({})
                    seen[name][-1][part] = output.double()

                handles.append(getattr(module, part).register_forward_hook(see))
    yield seen
    for handle in handles:
        handle.remove()


def naive(maps: Tensor, layers: list[tuple[Tensor, Tensor, int]], height: int, width: int) -> Tensor:
    """The definition, with every N × N matrix: maps [column, N], layers of (query, key) [N, head * channel]."""
    lowest, highest = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    seed = ((maps - lowest) / (highest - lowest)) ** 1.5
    places = torch.tensor([(y, x) for y in range(height) for x in range(width)], dtype=torch.float64)
    window = torch.exp(-(torch.cdist(places, places) ** 2) / (2 * (0.25 * min(height, width)) ** 2))
    above, below = torch.zeros_like(maps), torch.zeros(maps.shape[1], dtype=torch.float64)
    for query, key, heads in layers:
        for own_query, own_key in zip(query.chunk(heads, dim=1), key.chunk(heads, dim=1)):
            attention = (own_query @ own_key.T / own_query.shape[1] ** 0.5).softmax(dim=1)
            mean_row = attention.mean(dim=0)
            information = -(mean_row * mean_row.log()).sum() + (attention * attention.log()).sum(dim=1).mean()
            weight = information**0.5
            above += weight * (seed @ (attention * window).T)
            below += weight * (attention * window).sum(dim=1)
    found = above / below
    found = (found - found.amin(1, keepdim=True)) / (found.amax(1, keepdim=True) - found.amin(1, keepdim=True))
    return found * highest


@pytest.mark.parametrize("size", [(64, 64), (72, 136)], ids=["square", "wide"])
@pytest.mark.parametrize("family", FAMILIES)
def test_refined_maps_are_those_of_the_full_matrices(
    family: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(refining.ELEMENTS_AT_ONCE, "cpu", 500)  # a few rows, and heads, at once
    pipeline = FAMILIES[family]()
    with self_attention_of(pipeline.unet) as seen, daam.trace(pipeline, keep="refined") as tracer:
        run(pipeline, PROMPT, height=size[0], width=size[1])
    (maps,) = (text for key, text in tracer.image_trace().texts.items() if key.side == "positive")
    assert maps.refined is not None and maps.text.refined_columns == (2, 3, 6, 7)
    height, width = maps.refined.shape[-2:]
    heads = {name: module.heads for name, module in pipeline.unet.named_modules() if name in seen}
    largest = max(calls[-1]["to_q"].shape[1] for calls in seen.values())
    layers = [
        (calls[-1]["to_q"][1], calls[-1]["to_k"][1], heads[name])  # row 1: the positive prompt's
        for name, calls in seen.items()
        if calls[-1]["to_q"].shape[1] == largest == height * width
    ]
    places = [maps.text.columns.index(column) for column in maps.text.refined_columns]
    plain = on_grid([kept[places] for kept in maps.sums.values()], (height, width)).flatten(1).double()
    expected = naive(plain, layers, height, width)
    assert len(layers) >= 2
    torch.testing.assert_close(maps.refined.flatten(1).double(), expected, rtol=0, atol=2e-4 * float(plain.max()))


def test_a_grid_gets_what_an_own_upscaling_gives() -> None:
    maps = [torch.rand(2, 4, 6), torch.rand(2, 8, 12)]
    expected = torch.nn.functional.interpolate(maps[0][None], (8, 12), mode="bicubic")[0] + maps[1]
    torch.testing.assert_close(on_grid(maps, (8, 12)), expected.clamp(min=0))


def test_a_map_takes_on_the_outline_of_what_attends_alike() -> None:
    """Two halves of which each attends to itself: a spot in the one fills it, and leaves the other dark."""
    halves = torch.eye(2).repeat_interleave(32, dim=0) * 8
    spot = torch.zeros(1, 8, 8)
    spot[0, 1:3, 3:5] = 5.0
    found = refine(spot, [SelfAttention(halves, halves, 1, 1.0)])[0]
    assert found[:4].min() > 0.3 * found.max() and found[4:].max() < 0.01 * found.max()
    assert float(found.max()) == pytest.approx(5.0) and float(found.min()) == 0.0


def test_a_head_that_tells_nothing_counts_for_nothing() -> None:
    halves = torch.eye(2).repeat_interleave(32, dim=0) * 8
    even = torch.cat([halves, torch.zeros(64, 2)], dim=1)
    spot = torch.rand(2, 8, 8)
    alone, beside = (refine(spot, [SelfAttention(q, q, heads, 1.0)]) for q, heads in ((halves, 1), (even, 2)))
    torch.testing.assert_close(alone, beside, rtol=0, atol=5e-3)


def test_layers_of_another_grid_and_faulty_ones_are_refused() -> None:
    layer = torch.ones(16, 4)
    with pytest.raises(ShapeError, match="expected 64 positions, got 16 and 16"):
        refine(torch.rand(1, 8, 8), [SelfAttention(layer, layer, 1, 1.0)])
    with pytest.raises(TraceError, match="self-attention is not finite"):
        refine(torch.rand(1, 4, 4), [SelfAttention(layer * torch.nan, layer, 1, 1.0)])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_of_the_picture_changes(family: str, backend: str) -> None:
    pipeline = FAMILIES[family]()
    BACKENDS[backend](pipeline)
    before = run(pipeline, PROMPT, negative_prompt="ugly")
    own_hooks = hooks(pipeline)
    with daam.trace(pipeline, keep="refined") as tracer:
        traced = run(pipeline, PROMPT, negative_prompt="ugly")
    assert (before == traced).all() and hooks(pipeline) == own_hooks
    assert tracer.heat_maps().select(reading="refined")["circle"].values.max() > 0


def test_fused_projections_give_the_same_refined_maps() -> None:
    maps = []
    for fused in (False, True):
        pipeline = sd1()
        if fused:
            pipeline.unet.fuse_qkv_projections()
        with daam.trace(pipeline, keep="refined") as tracer:
            run(pipeline, PROMPT)
        maps.append(tracer.heat_maps().select(reading="refined")["circle"].values)
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-4 * maps[0].max())


def test_nothing_is_kept_that_was_not_asked_for() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        assert not any(len(m._forward_hooks) for n, m in pipeline.unet.named_modules() if ".attn1." in n)
        run(pipeline, PROMPT)
        with pytest.raises(TraceError, match='keep="refined"'):
            tracer.self_attention()
    trace = tracer.image_trace()
    assert trace.keep == () and all(text.refined is None for text in trace.texts.values())
    with pytest.raises(NotKeptError, match=r'refined maps were not kept: trace with `daam.trace\(pipe, keep="refined"'):
        tracer.heat_maps().select(reading="refined")


def test_what_is_held_is_the_latest_call_s_own_tensors_and_no_more() -> None:
    pipeline = sd1()
    with self_attention_of(pipeline.unet) as seen, daam.trace(pipeline, keep="refined") as tracer:
        made = []
        for name, module in pipeline.unet.named_modules():
            if name.endswith("attn1"):
                module.to_q.register_forward_hook(lambda _, __, output: made.append(output))
        run(pipeline, PROMPT, num_inference_steps=5)
        along = tracer.self_attention()
        finest = [query for query in made if query.shape[1] == 64]
        assert len(finest) == 5 * len(along.of(0))
        own = {layer.query.untyped_storage().data_ptr() for layer in along.of(0)}
        assert own == {query.untyped_storage().data_ptr() for query in finest[-len(along.of(0)) :]}
        held = tracer.held_bytes
    assert held == sum(2 * query.numel() * query.element_size() for query in finest[-len(along.of(0)) :])
    assert len(seen) > len(along.of(0))  # the coarser layers' are not held
    tracer.image_trace()
    assert tracer.held_bytes == 0  # after the end, once it is worked off


def test_each_picture_of_a_batch_has_its_own() -> None:
    pipeline = sd1()
    apart = []
    for number in range(2):
        with daam.trace(pipeline, keep="refined") as tracer:
            run(pipeline, [PROMPT, "a green star"][number], latents=_latents()[number : number + 1])
        apart.append(tracer.heat_maps().select(reading="refined"))
    with daam.trace(pipeline, keep="refined") as tracer:
        run(pipeline, [PROMPT, "a green star"], latents=_latents())
    for number, word in ((0, "circle"), (1, "star")):
        together = tracer.heat_maps(number).select(reading="refined")[word].values
        np.testing.assert_allclose(together, apart[number][word].values, rtol=0, atol=1e-3 * together.max())


def _latents() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))


def test_words_that_name_nothing_and_negative_ones_stay_plain() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, keep="refined", probe="green star") as tracer:
        run(pipeline, PROMPT, negative_prompt="an ugly tree")
    plain = tracer.heat_maps()
    refined = plain.select(reading="refined")
    for word in plain:
        assert bool((plain[word].values == refined[word].values).all()) == (word not in CONTENT), word
    negative = tracer.heat_maps(side="negative")
    assert (negative["ugly"].values == negative.select(reading="refined")["ugly"].values).all()
    probe = tracer.heat_maps(side="probe")
    assert (probe["green star"].values != probe.select(reading="refined")["green star"].values).any()


def test_an_earlier_text_of_the_schedule_is_carried_along_the_latest_call() -> None:
    pipeline = sd1()
    settings = daam.GenerationSettings("a [red:green:0.5] circle", steps=4, height=64, width=64)
    result = daam.generate(pipeline, settings, keep="refined")
    maps = result.heat_maps().select(reading="refined")
    assert all((maps[word].values != maps.plain[word].values).any() for word in ("red", "green", "circle"))


# --- refusals -----------------------------------------------------------------------------------------------------


def _merged(pipeline: Any) -> Any:
    """As token merging: the layer attends from half of the positions."""

    def forward(attention: Any, own: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda x, *rest, **named: own(x[:, ::2], *rest, **named).repeat_interleave(2, dim=1)

    return _wrapped(pipeline, forward)


def _tiled(pipeline: Any) -> Any:
    """As hypertile: each tile is a row of its own."""

    def forward(attention: Any, own: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda x, *rest, **named: own(x.unflatten(1, (4, -1)).flatten(0, 1), *rest, **named).reshape(x.shape)

    return _wrapped(pipeline, forward)


def _wrapped(pipeline: Any, wrap: Callable[..., Any]) -> Any:
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn1"):
            module.forward = wrap(module, module.forward)
    return pipeline


def _with_reference(pipeline: Any) -> Any:
    """As ControlNet's reference: another picture's positions stand behind the own ones along the keys."""
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn1"):
            module.forward = lambda x, *_, own=module.forward, **__: own(x, torch.cat([x, x.flip(1)], dim=1))
    return pipeline


def _pag_everywhere() -> Any:
    pipeline = sd1()
    layers = [name.removesuffix(".attn1") for name, _ in pipeline.unet.named_modules() if name.endswith("attn1")]
    kind = getattr(diffusers, "StableDiffusionPAGPipeline", None)
    if kind is None:
        pytest.skip(f"diffusers {diffusers.__version__} has no perturbed-attention guidance")
    return kind(**pipeline.components, requires_safety_checker=False, pag_applied_layers=layers)


def _sag() -> Any:
    return as_kind(diffusers.StableDiffusionSAGPipeline, sd1(attention_head_dim=4))


REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "token merging": (lambda: _merged(sd1()), {}, "attends from 32 positions that are not its grid of 8x8"),
    "hypertile": (lambda: _tiled(sd1()), {}, "attends from 16 positions that are not its grid of 8x8"),
    "reference": (lambda: _with_reference(sd1()), {}, "in its own way"),
    "PAG": (lambda: pag(sd1()), {"pag_scale": 3.0}, "in its own way"),
    "PAG everywhere": (_pag_everywhere, {"pag_scale": 3.0}, "in its own way"),
    "SAG": (_sag, {"sag_scale": 0.75}, "in its own way"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_reason_and_the_plain_maps_stay(name: str) -> None:
    make, options, reason = REFUSED[name]
    pipeline = make()
    pipeline.set_progress_bar_config(disable=True)
    with daam.trace(pipeline, keep="refined") as tracer:
        run(pipeline, PROMPT, **options)
    trace = tracer.image_trace()
    assert reason in trace.not_refined and trace.keep == ()
    assert tracer.heat_maps()["circle"].values.max() > 0
    with pytest.raises(NotKeptError, match="there are no refined maps: .*" + reason):
        tracer.heat_maps().select(reading="refined")


def test_a_query_that_was_changed_afterwards_is_refused() -> None:
    pipeline = sd1()
    attention = pipeline.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    kept: list[Tensor] = []
    attention.to_q.register_forward_hook(lambda _, __, output: kept.append(output))
    with torch.no_grad(), daam.trace(pipeline, keep="refined") as tracer:
        tracer.expect([PROMPT])
        context = pipeline.encode_prompt(PROMPT, "cpu", 1, False)[0]
        tracer.expect([PROMPT])
        pipeline.unet(torch.zeros(1, 4, 8, 8), torch.tensor(1), encoder_hidden_states=context)
        kept[-1].mul_(2)
        with pytest.raises(TraceError, match="changed the query or the key of .*attn1"):
            tracer.self_attention()


def test_a_fault_of_the_refining_costs_the_refined_maps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(refined_maps, "refine", fail)
    pipeline = sd1()
    with daam.trace(pipeline, keep="refined") as tracer:
        run(pipeline, PROMPT)
    assert tracer.image_trace().not_refined == "RuntimeError: CUDA out of memory"
    assert tracer.heat_maps()["circle"].values.max() > 0


# --- the budget ---------------------------------------------------------------------------------------------------


def _attended(layer: str, size: tuple[int, int] = (4, 4), rows: int = 2) -> SelfAttended:
    query, key = (torch.randn(rows, size[0] * size[1], 8) for _ in range(2))
    return SelfAttended(layer, query, key, 2, None, size)


BYTES_OF_A_LAYER = 2 * 2 * 16 * 8 * 4


def _seen(budget: Budget, calls: int = 2, layers: str = "abc", size: tuple[int, int] = (4, 4)) -> LatestSelfAttention:
    found = LatestSelfAttention(budget)
    for _ in range(calls):
        found.begin_call(2, {0: {0: 1}})
        for layer in layers:
            found.see(_attended(layer, size))
    return found


def test_layers_that_ran_first_are_let_go_where_the_budget_is_full() -> None:
    found = _seen(Budget(2 * BYTES_OF_A_LAYER))
    assert found.held_bytes == 2 * BYTES_OF_A_LAYER
    assert len(found.of(0).of(0)) == 2 and found.of(0).left_out == 1 and list(found._kept) == ["b", "c"]
    with pytest.raises(TraceError, match="one layer at 4x4 takes more than the 0 MiB that refined maps may hold"):
        _seen(Budget(BYTES_OF_A_LAYER - 1)).of(0)


def test_by_the_way_it_is_all_layers_or_none() -> None:
    with pytest.raises(TraceError, match="takes more than"):
        _seen(Budget(2 * BYTES_OF_A_LAYER, is_all_or_nothing=True)).of(0)
    assert len(_seen(Budget(3 * BYTES_OF_A_LAYER, is_all_or_nothing=True)).of(0).of(0)) == 3
    with pytest.raises(TraceError, match="takes long on this device, and was not asked for"):
        _seen(Budget(2**20, {"cpu": 1000.0})).of(0)
    assert BY_THE_WAY.bytes < ASKED.bytes and ASKED.allows(1e15, "cpu")


def test_the_latest_call_has_its_own_size() -> None:
    """A hires pass, and a model that is called for each picture alone."""
    found = _seen(ASKED)
    found.begin_call(2, {0: {0: 1}})
    for layer, size in (("a", (8, 8)), ("coarse", (4, 4)), ("b", (8, 8))):
        found.see(_attended(layer, size))
    assert found.of(0).size == (8, 8) and len(found.of(0).of(0)) == 2
    found.begin_call(2, {})  # a call of the negative prompt, or of another extension
    found.see(_attended("a", (8, 8)))
    assert len(found.of(0).of(0)) == 2
    found.begin_call(1, {1: {0: 0}})
    found.see(_attended("a", (8, 8), rows=1))
    assert len(found.of(1).of(0)) == 1 and len(found.of(0).of(0)) == 2
    with pytest.raises(TraceError, match="no self-attention of the picture was seen"):
        found.of(7)


def test_parts_have_rows_of_their_own_and_others_take_the_first() -> None:
    found = LatestSelfAttention(ASKED)
    found.begin_call(2, {0: {3: 0, 4: 1}})
    attended = _attended("a")
    found.see(attended)
    along = found.of(0)
    assert (along.of(3)[0].query == attended.query[0]).all() and (along.of(4)[0].query == attended.query[1]).all()
    assert along.of(0) is along.of(3)


def test_a_bar_is_shown_only_where_it_takes_long(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    pipeline = sdxl()
    for seconds, is_shown in ((100.0, False), (0.0, True)):
        monkeypatch.setattr(refined_maps, "SECONDS_WITHOUT_A_BAR", seconds)
        with daam.trace(pipeline, keep="refined") as tracer:
            run(pipeline, PROMPT)
        tracer.image_trace()
        assert ("refined maps" in capsys.readouterr().err) == is_shown


def test_a_reading_of_parts_of_the_trace_is_refused() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, keep=("refined", "steps")) as tracer:
        run(pipeline, PROMPT)
    maps = tracer.heat_maps()
    for part in ({"layers": "up_blocks.*"}, {"steps": (0, 0)}, {"resolutions": [(8, 8)]}):
        with pytest.raises(SettingError, match="refined maps are made from the whole trace"):
            maps.select(reading="refined", **part)
    assert latest.ASKED.bytes == 256 * 2**20


class _Operators(TorchDispatchMode):
    """Counts the operators that torch is called for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        self.count += 1
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_operator_more_runs_in_a_step(family: str) -> None:
    pipeline = FAMILIES[family]()
    counts = []
    for keep in ((), "refined"):
        run(pipeline, PROMPT)
        with daam.trace(pipeline, keep=keep), _Operators() as operators:
            run(pipeline, PROMPT, num_inference_steps=3)
        counts.append(operators.count)
    assert counts[0] == counts[1] > 0
