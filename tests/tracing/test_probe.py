"""Words that are not in the prompt: scored against the queries, without touching the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import daam
from daam.errors import TermError
from daam.hosts.diffusers_probe import probe_of
from daam.prompt.terms import parse_terms
from daam.results.record import load_record, save_record
from daam.results.result import Result
from daam.tracing.probe import make_probe
from tests.pipelines import FAMILIES, run, sd1

PROMPT = "a red circle"


def first_layer(pipeline: Any) -> Any:
    return next(module for name, module in pipeline.unet.named_modules() if name.endswith("attn2"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_probed_picture_is_bit_identical_and_its_own_maps_are_the_same(family: str) -> None:
    pipeline = FAMILIES[family]()
    with daam.trace(pipeline) as plain:
        without = run(pipeline, PROMPT)
    with daam.trace(pipeline, probe="dog, green grass") as tracer:
        probed = run(pipeline, PROMPT)
    assert (probed == without).all()
    own, alone = (each.heat_maps()["circle"].values for each in (tracer, plain))
    np.testing.assert_allclose(own, alone, rtol=2e-6)
    assert list(tracer.heat_maps(side="probe")) == ["dog", "green", "grass"]


def test_a_probes_attention_is_the_softmax_over_the_prompts_keys_and_its_own() -> None:
    pipeline = sd1()
    layer, seen = first_layer(pipeline), {}
    hooks = [
        layer.to_q.register_forward_hook(lambda *call: seen.setdefault("queries", []).append(call[2])),
        layer.to_k.register_forward_hook(lambda *call: seen.setdefault("keys", []).append(call[2])),
    ]
    with daam.trace(pipeline, probe="dog, grass") as tracer:
        run(pipeline, PROMPT)
    for hook in hooks:
        hook.remove()
    vectors = probe_of(pipeline, parse_terms("dog, grass")).vectors
    with torch.no_grad():
        extra = layer.to_k(vectors)
    expected = 0
    for query, key in zip(seen["queries"], seen["keys"]):
        keys = torch.cat([key[-1], extra]).unflatten(-1, (layer.heads, -1)).transpose(0, 1).double()
        queries = query[-1].unflatten(-1, (layer.heads, -1)).transpose(0, 1).double()
        expected += (queries @ keys.transpose(-1, -2) * layer.scale).softmax(-1)[:, :, -2:].sum(0)
    maps = next(text for key, text in tracer.image_trace().texts.items() if key.side == "probe")
    name = next(name for name, module in pipeline.unet.named_modules() if module is layer)
    torch.testing.assert_close(maps.sums[name].flatten(1).T.double(), expected, rtol=1e-5, atol=1e-6)


def test_probed_words_do_not_see_each_other() -> None:
    pipeline = sd1()
    together, alone = (probe_of(pipeline, parse_terms(text)).vectors for text in ("dog, grass", "grass"))
    assert torch.equal(together[1:], alone)


def test_every_picture_of_a_batch_has_its_probe_and_a_record_keeps_it(tmp_path: Path) -> None:
    pipeline = sd1()
    with daam.trace(pipeline, probe="dog") as tracer:
        run(pipeline, [PROMPT, "a blue square"])
    first, second = (tracer.heat_maps(image, side="probe")["dog"].values for image in range(2))
    assert first.max() > 0 and not (first == second).all()
    from PIL import Image

    save_record(tmp_path / "r", Result([Image.new("RGB", (64, 64))], [tracer.image_trace(1)]))
    again = daam.HeatMaps(load_record(tmp_path / "r").traces[0], side="probe")
    assert (again["dog"].values == second).all()


def test_a_probe_without_a_word_is_an_error() -> None:
    with pytest.raises(TermError, match="at least one word"):
        make_probe([])


def test_strength_and_scale_of_a_probe_are_those_of_the_prompts_words() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, probe="circle") as tracer:
        run(pipeline, PROMPT)
    probe, own = tracer.heat_maps(side="probe"), tracer.heat_maps()
    strength = daam.term_statistics(probe, ["circle"])["circle"]["strength"]
    assert 0 < strength < 1
    highest = max(own[word].values.max() for word in own)
    lowest = min(min(own[word].values.min() for word in own), probe["circle"].values.min())
    expected = (probe["circle"].values - lowest) / (max(highest, probe["circle"].values.max()) - lowest)
    assert probe["circle"].scaled() == pytest.approx(expected, abs=1e-5)
