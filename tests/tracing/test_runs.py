"""Layers that extensions run more than once in a call, each with rows or words of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from daam.errors import TraceError
from daam.tracing.capture import Capture
from daam.tracing.families.cross_attention import find_cross_attention_layers
from daam.tracing.plan import TextKey, TracedText
from daam.tracing.runs import LayerRuns
from tests.pipelines import make_unet

COLUMNS = (1, 2, 5)
POSITIVE, NEGATIVE = (TracedText(TextKey(0, side), COLUMNS) for side in ("positive", "negative"))
Attend = Callable[[Tensor, Tensor], Tensor]
Probabilities = dict[str, list[Tensor]]


@contextmanager
def replaced(unet: nn.Module, forward: Callable[[Attend, Tensor, Tensor], Tensor]) -> Iterator[Probabilities]:
    """Every attn2 with another `forward`, which attends as often as it likes; what each time gave: [row, position,
    token], added up over the heads."""
    given: Probabilities = {}
    layers = find_cross_attention_layers(unet)
    for layer in layers:
        layer.attention.forward = _forward(layer.name, layer.attention, forward, given)  # type: ignore[method-assign]
    yield given
    for layer in layers:
        del layer.attention.forward


def _forward(name: str, attention: Any, forward: Callable[..., Tensor], given: Probabilities) -> Callable[..., Tensor]:
    def attend(x: Tensor, context: Tensor) -> Tensor:
        heads = (attention.heads, -1)
        query, key, value = (
            part.unflatten(-1, heads).transpose(1, 2)
            for part in (attention.to_q(x), attention.to_k(context), attention.to_v(context))
        )
        weights = (query @ key.transpose(-1, -2) * attention.scale).softmax(-1)
        given.setdefault(name, []).append(weights.sum(1))
        return attention.to_out[0]((weights @ value).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    return lambda x, encoder_hidden_states=None, **_: forward(attend, x, encoder_hidden_states)


def traced(unet: nn.Module, context: Tensor) -> Capture:
    """One call with a positive and a negative row."""
    capture = Capture(unet, lambda call: [POSITIVE, NEGATIVE])
    with ExitStack() as stack, torch.no_grad():
        capture.install(stack)
        torch.manual_seed(0)
        unet(torch.randn(2, 4, 8, 8), 7, encoder_hidden_states=context)
    return capture


def assert_sums(capture: Capture, text: TracedText, expected: dict[str, Tensor]) -> None:
    kept = capture.accumulator.on_cpu(0)[text.key].sums
    assert kept.keys() == expected.keys()
    for layer, maps in kept.items():
        assert torch.allclose(maps.flatten(1), expected[layer][:, list(COLUMNS)].T, atol=1e-6), layer


def context(rows: int = 2, columns: int = 7, *, seed: int = 1) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(rows, columns, 32)


def test_positive_and_negative_rows_in_two_runs_each_with_words_of_its_own() -> None:
    unet, words = make_unet(), context(1, 3, seed=2)

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:  # as NegPiP does
        positive = attend(x[:1], torch.cat([context[:1], words], dim=1))
        return torch.cat([positive, attend(x[1:], torch.cat([context[1:], -words], dim=1))])

    with replaced(unet, forward) as given:
        capture = traced(unet, context())
    assert capture.fault is None
    assert_sums(capture, POSITIVE, {layer: runs[0][0] for layer, runs in given.items()})
    assert_sums(capture, NEGATIVE, {layer: runs[1][0] for layer, runs in given.items()})


def test_the_same_text_on_both_sides_is_not_taken_for_one_row() -> None:
    unet = make_unet()

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:
        return torch.cat([attend(x[:1], context[:1]), attend(x[1:], context[1:])])

    with replaced(unet, forward) as given:
        capture = traced(unet, context(1).expand(2, -1, -1).clone())
    assert_sums(capture, POSITIVE, {layer: runs[0][0] for layer, runs in given.items()})
    assert_sums(capture, NEGATIVE, {layer: runs[1][0] for layer, runs in given.items()})


@pytest.mark.parametrize("is_first", [True, False])
def test_a_run_with_rows_of_its_own_is_not_the_calls(is_first: bool) -> None:
    unet, other = make_unet(), context(1, 9, seed=2)

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:  # as FABRIC's caching pass, merged tokens too
        if is_first:
            attend(x[:1, :5], other)
        found = attend(x, context)
        if not is_first:
            attend(x.flip(0), other.expand(2, -1, -1))
        return found

    with replaced(unet, forward) as given:
        capture = traced(unet, context())
    assert capture.fault is None
    own = 1 if is_first else 0
    assert_sums(capture, POSITIVE, {layer: runs[own][0] for layer, runs in given.items()})


def test_of_two_runs_with_the_same_rows_the_last_counts() -> None:
    unet = make_unet()

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:  # as ControlNet's reference pass
        attend(2 * x, context)
        return attend(x, context)

    with replaced(unet, forward) as given:
        capture = traced(unet, context())
    assert_sums(capture, NEGATIVE, {layer: runs[1][1] for layer, runs in given.items()})


def test_a_mark_before_the_text_that_the_layers_do_not_get_moves_no_column() -> None:
    unet = make_unet()

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:  # as ControlNet and FABRIC do
        return attend(x, context[:, 1:])

    with replaced(unet, forward) as given:
        capture = traced(unet, context(columns=8))
    assert_sums(capture, POSITIVE, {layer: runs[0][0] for layer, runs in given.items()})


def test_keys_made_of_something_new_are_those_of_the_calls_rows() -> None:
    unet = make_unet()

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:  # as a hypernetwork does
        return attend(x, context + 0.1)

    with replaced(unet, forward) as given:
        capture = traced(unet, context())
    assert_sums(capture, NEGATIVE, {layer: runs[0][1] for layer, runs in given.items()})


def test_regions_that_attend_to_a_part_of_the_text_are_refused_by_name() -> None:
    unet = make_unet()

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:
        left, right = attend(x, context[:, :7]), attend(x, context[:, 7:])
        return torch.cat([left[:, :1], right[:, 1:]], dim=1)

    with replaced(unet, forward):
        capture = traced(unet, context(columns=14))
    assert isinstance(capture.fault, TraceError) and "Regional Prompter's Attention" in str(capture.fault)
    assert capture.accumulator.is_empty


def test_where_no_run_is_the_calls_it_is_said() -> None:
    unet, other = make_unet(), context(1, 9, seed=2)

    def forward(attend: Attend, x: Tensor, context: Tensor) -> Tensor:
        return torch.cat([attend(row[None], other + 1) for row in x])

    with replaced(unet, forward):
        capture = traced(unet, context())
    assert capture.fault is None and capture.accumulator.is_empty
    with pytest.raises(TraceError, match="no layer of the model was seen to attend to the prompt"):
        capture.check()


class Elsewhere(torch.Tensor):
    """A tensor that says that it is on an accelerator."""

    @property
    def device(self) -> Any:  # type: ignore[override]
        return torch.device("cuda")


def test_on_an_accelerator_later_calls_are_asked_about_at_the_end() -> None:
    runs = LayerRuns()
    for call in range(3):
        given = context() + call
        runs.begin_call(2, given)
        assert runs.recognise("layer", given[:1].clone().as_subclass(Elsewhere), 1).rows == (0,)
        assert runs.recognise("layer", given[1:].clone().as_subclass(Elsewhere), 1).rows == (1,)
        runs.check()
    runs.begin_call(2, given)
    runs.recognise("layer", given[1:].clone().as_subclass(Elsewhere), 1)
    with pytest.raises(TraceError, match="which rows the model's layers run with"):
        runs.check()
