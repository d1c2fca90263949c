"""The viewer's data: tiles that add up to the maps, chips in prompt order, and JSON that may stand in a page."""

from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import daam
from benchmarks.prompt_times import SD1, STEPS, long_prompts, seconds_of_data
from daam.maps.observations import OBSERVATIONS, Facts, gather, most_telling, observe
from daam.pictures.colormaps import lookup_table
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.joined import joined_tables
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.results.viewer.data import prompt_frames, viewer_data
from daam.results.viewer.page import report_html, safe_json
from daam.tracing.image_trace import ImageTrace
from daam.tracing.text_maps import TextMaps
from tests.pipelines import run, sd1
from tests.places import TOKENIZER

PROMPT = "a red circle and a circle"
PICTURE = Image.new("RGB", (64, 64), (200, 30, 30))
READING = {"150 words": 0.010, "153 words, editing and alternation": 0.025}
"""CPU seconds that reading a prompt takes on an idle machine (AMD EPYC)."""


@pytest.fixture(scope="module")
def trace() -> ImageTrace:
    pipeline = sd1()
    with daam.trace(pipeline, probe="dog") as tracer:
        run(pipeline, PROMPT, negative_prompt="ugly")
    return tracer.image_trace()


@pytest.fixture(scope="module")
def data(trace: ImageTrace) -> dict[str, Any]:
    return json.loads(json.dumps(viewer_data(PICTURE, trace, DrawingSettings(colormap="cividis"))))  # type: ignore[no-any-return]


def image_of(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_chips_are_the_words_of_every_prompt_in_order(data: dict[str, Any]) -> None:
    chips = {prompt["side"]: [chip["text"] for chip in prompt["chips"]] for prompt in data["prompts"]}
    assert chips == {"positive": PROMPT.split(), "negative": ["ugly"], "probe": ["dog"]}
    assert [prompt["part_labels"] for prompt in data["prompts"]] == [[""], [""], []]
    for prompt in data["prompts"]:
        for chip in prompt["chips"]:
            assert prompt["prompt"][slice(*chip["span"])] == chip["text"]


def test_every_word_has_a_frame_to_edit_it(data: dict[str, Any]) -> None:
    positive, negative, probe = data["prompts"]
    assert [frame["span"] for frame in positive["frames"]["words"]] == [chip["span"] for chip in positive["chips"]]
    assert all(frame["places"] and frame["remove"] for frame in positive["frames"]["words"])
    assert len(negative["frames"]["words"]) == 1 and probe["frames"] is None


def test_a_negative_prompt_is_framed_without_parts() -> None:
    tokenizer = ClipTokenizer.from_folder(TOKENIZER)
    table = parse_prompt("a:1.2 cat", tokenizer, negative=True)
    assert [frame.why_stays for frame in prompt_frames(table, negative=True).words] == [None] * 4
    assert prompt_frames(parse_prompt("a:1.2 cat", tokenizer)).words[-1].why_stays is not None


def test_tiles_are_the_words_own_maps(data: dict[str, Any], trace: ImageTrace) -> None:
    maps = daam.HeatMaps(trace)
    for chip, term in zip(data["prompts"][0]["chips"], ["a#1", "red", "circle#1", "and", "a#2", "circle#2"]):
        assert chip["term"] == term
        for tile, expected in zip(chip["tiles"], maps.by_size(term).values(), strict=True):
            assert _cut_out(data, tile) == pytest.approx(expected.numpy(), abs=tile["max"] / 500)


def test_the_passes_of_hires_fix_have_maps_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though their words are the same; observations are made from both together."""
    pipeline = sd1()
    with daam.trace(pipeline, keep="steps") as tracer:
        run(pipeline, "a red circle", num_inference_steps=2)
    once = tracer.image_trace()
    texts = {key._replace(part=1): _turned(maps) for key, maps in once.texts.items() if key.side == "positive"}
    both = replace(once, positive=joined_tables(once.positive, once.positive), texts={**once.texts, **texts})
    observed: list[daam.HeatMaps] = []
    monkeypatch.setattr("daam.results.viewer.data.observe", lambda maps: observed.append(maps) or [])
    data = viewer_data(PICTURE, both, DrawingSettings())
    chips = [chip for chip in data["prompts"][0]["chips"] if chip["term"] == "circle"]
    assert [chip["part"] for chip in chips] == [0, 1]
    for tiles in ("tiles", "step_tiles"):
        first, later = ([_cut_out(data, tile) for tile in chip[tiles]] for chip in chips)
        assert any(np.ptp(tile) > 0 for tile in first)
        for one, other in zip(first, later, strict=True):
            assert other == pytest.approx(2 * one[:, ::-1], abs=float(one.max()) / 50)
    assert chips[1]["strength"] == pytest.approx(2 * chips[0]["strength"])
    assert sum(chip["strength"] for chip in data["prompts"][0]["chips"]) == pytest.approx(1)
    assert (observed[0]["circle"].values == daam.HeatMaps(both)["circle"].values).all()


def _turned(maps: TextMaps) -> TextMaps:
    """Twice the same, the other way round."""
    details = {
        layer: {step: 2 * each.flip(-1) for step, each in steps.items()} for layer, steps in maps.details.items()
    }
    return replace(maps, sums={layer: 2 * each.flip(-1) for layer, each in maps.sums.items()}, details=details)


def test_the_settings_colormap_is_offered_with_its_colours(data: dict[str, Any]) -> None:
    table = np.frombuffer(base64.b64decode(data["colormaps"]["cividis"]), np.uint8).reshape(256, 3)
    assert (table == lookup_table("cividis")[:, 0]).all()
    assert data["settings"]["colormap"] == "cividis"


def test_kept_steps_have_a_small_map_each() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, keep="steps", terms="circle", probe="dog") as tracer:
        run(pipeline, PROMPT, negative_prompt="ugly", num_inference_steps=3)
    trace = tracer.image_trace()
    data = viewer_data(PICTURE, trace, DrawingSettings())
    assert data["steps"] == 3
    (probed,) = data["prompts"][2]["chips"]
    assert probed["tiles"] and not probed["step_tiles"], "of probe words only the sums are kept"
    chips = {chip["term"]: chip for chip in data["prompts"][0]["chips"]}
    assert [len(chips[term]["step_tiles"]) for term in ("red", "circle#1", "circle#2")] == [0, 3, 3]
    sums = [_cut_out(data, tile) for tile in chips["circle#1"]["step_tiles"]]
    small = torch.zeros(1, 1, *sums[0].shape)
    for expected in daam.HeatMaps(trace).by_size("circle#1").values():
        small += torch.nn.functional.interpolate(expected[None, None], small.shape[-2:], mode="bicubic", antialias=True)
    assert sum(sums) == pytest.approx(small[0, 0].numpy(), rel=0.02, abs=0.02 * float(small.max()))


def test_75_words_at_64x64_are_less_than_a_megabyte() -> None:
    tokenizer = ClipTokenizer.from_folder(TOKENIZER)
    words = [f"{letter}{other}" for letter in "abcdefghij" for other in "klmnopqr"][:75]
    table = parse_prompt(" ".join(words), tokenizer)
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a", height=512, width=512, num_inference_steps=1)
    maps = next(iter(tracer.image_trace().texts.values()))
    columns = tuple(column.column for column in table.parts[0].schedule[0].columns if column.word is not None)
    generator = np.random.default_rng(0)
    sums = {
        name: torch.from_numpy(generator.random((len(columns), *kept.shape[1:]), np.float32))
        for name, kept in maps.sums.items()
    }
    text = replace(maps, text=replace(maps.text, columns=columns), sums=sums)
    trace = ImageTrace((512, 512), table, None, {text.text.key: text}, 1)
    data = viewer_data(PICTURE.resize((512, 512)), trace, DrawingSettings())
    assert len({chip["text"] for chip in data["prompts"][0]["chips"]}) >= 60
    assert max(tile["height"] for chip in data["prompts"][0]["chips"] for tile in chip["tiles"]) == 64
    assert len(json.dumps(data)) < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["150 words", "153 words, editing and alternation"])
def test_the_data_of_150_words_take_less_than_300_ms_of_cpu(kind: str) -> None:
    """On a machine that has other work to do, more by what it needs more to read the prompt: 25 ms on an idle one."""
    prompt, tokenizer = long_prompts()[kind], ClipTokenizer.from_folder(TOKENIZER)
    readings, made = [], []
    for _ in range(8):
        since = time.process_time()
        table = parse_prompt(prompt, tokenizer, steps=STEPS)
        readings.append(time.process_time() - since)
        made += seconds_of_data(table, SD1, 512, repeats=1)
    assert min(made) < 0.3 * max(1.0, median(readings) / READING[kind]), (made, readings)  # 0.37 and 0.62 before


def test_hostile_prompts_cannot_leave_the_data_of_the_page(trace: ImageTrace) -> None:
    hostile = "</script><script>alert(1)</script> \u2028 & 🐈"
    assert json.loads(safe_json([hostile])) == [hostile]
    assert not set(safe_json([hostile])) & set("<>&\u2028")
    page = report_html(Result([PICTURE], [replace(trace, positive=replace(trace.positive, prompt=hostile))]))
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_page_uses_no_network(trace: ImageTrace) -> None:
    page = report_html(Result([PICTURE], [trace]))
    assert "http://" not in page and "https://" not in page and 'src="/' not in page


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_every_observation_is_made_where_its_threshold_is_met(kind: str, trace: ImageTrace) -> None:
    """Maps are set by hand so that the one thing is so, and once so that nothing is."""

    def numbers(strength: float, coverage: float, overlap: dict[str, float]) -> dict[str, Any]:
        return {"strength": strength, "coverage": coverage, "overlap": overlap}

    quiet = {word: numbers(0.2, 0.2, dict.fromkeys("xyz", 0.4)) for word in ("x", "y", "z")}
    loud: dict[str, dict[str, dict[str, Any]]] = {
        "ignored": {**quiet, "x": numbers(0.05, 0.2, {"y": 0.4, "z": 0.4})},
        "spread out": {**quiet, "x": numbers(0.2, 0.9, {})},
        "same region": {**quiet, "x": numbers(0.2, 0.2, {"y": 0.4, "z": 0.8})},
        "neighbours apart": {**quiet, "x": numbers(0.2, 0.2, {"y": 0.05, "z": 0.4})},
    }
    maps, pairs = daam.HeatMaps(trace), (("x", "y"),)
    assert not list(OBSERVATIONS[kind](Facts(maps, quiet, pairs)))
    if kind in loud:
        said = list(OBSERVATIONS[kind](Facts(maps, loud[kind], pairs)))
        assert len(said) == 1 and "x" in said[0].terms and "%" in said[0].text


def test_parts_are_told_apart_in_words() -> None:
    tokenizer = ClipTokenizer.from_folder(TOKENIZER)
    table = parse_prompt("a cat AND a dog:0.5", tokenizer)
    data = lambda table: viewer_data(PICTURE, ImageTrace((8, 8), table, None), DrawingSettings())  # noqa: E731
    assert data(table)["prompts"][0]["part_labels"] == ["part 1 × 1", "part 2 × 0.5"]
    later = tuple(replace(part, sampling_pass=1) for part in table.parts[:1])
    hires = replace(table, parts=table.parts[:1] + later)
    assert data(hires)["prompts"][0]["part_labels"] == ["first pass", "hires pass"]


def test_a_background_is_allowed_to_be_everywhere(trace: ImageTrace) -> None:
    wide = {"strength": 0.2, "coverage": 1.0, "overlap": dict.fromkeys("xyz", 0.4)}
    facts = Facts(daam.HeatMaps(trace), {"white": wide, "background": wide}, (("white", "background"),))
    assert not list(OBSERVATIONS["spread out"](facts))


def test_at_most_three_sentences_of_as_many_kinds_as_can_be() -> None:
    said = [{"kind": kind, "text": f"{kind}{number}"} for kind in ("a", "b") for number in range(4)]
    assert [each["text"] for each in most_telling(said, 3)] == ["a0", "b0", "a1"]


def test_of_words_of_one_phrase_and_of_schedules_less_is_said() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a big red circle, a square")
    facts = gather(tracer.heat_maps())
    alike = {
        word: {"strength": 0.2, "coverage": 0.2, "overlap": dict.fromkeys(facts.words, 0.9)} for word in facts.words
    }
    said = [each.terms for each in OBSERVATIONS["same region"](replace(facts, words=alike))]
    assert said == [("big", "square"), ("red", "square"), ("circle", "square")]
    weak = {**alike, "square": {**alike["square"], "strength": 0.01}}
    assert [each.terms for each in OBSERVATIONS["ignored"](replace(facts, words=weak))] == [("square",)]
    both = {**weak, "red": {**alike["red"], "strength": 0.05}}
    said = [each.terms for each in OBSERVATIONS["ignored"](replace(facts, words=both))]
    assert said == [("square",), ("red",)], "the weakest first"
    assert not list(OBSERVATIONS["ignored"](replace(facts, words=weak, scheduled=frozenset({"square"}))))
    table = parse_prompt("a [cat:dog:0.5] hat", ClipTokenizer.from_folder(TOKENIZER))
    assert gather(daam.HeatMaps(ImageTrace((8, 8), table, None))).scheduled == {"cat", "dog"}


def test_a_word_cut_by_the_border_of_75_tokens_is_named() -> None:
    tokenizer = ClipTokenizer.from_folder(TOKENIZER)
    table = parse_prompt(" ".join(["cat"] * 74) + " extraordinarilyness", tokenizer, comma_padding=0)
    columns = [column for column in table.parts[0].schedule[0].columns if column.piece]
    assert columns[-1].column // 77 == 1, "the word's pieces lie in both chunks"
    said = [each for each in observe(daam.HeatMaps(ImageTrace((8, 8), table, None))) if "border" in each["text"]]
    assert [each["terms"] for each in said] == [["extraordinarilyness"]]


def test_refined_tiles_are_there_for_the_words_that_have_them() -> None:
    pipeline = sd1()
    with daam.trace(pipeline, keep="refined") as tracer:
        run(pipeline, PROMPT, negative_prompt="ugly")
    trace = tracer.image_trace()
    data = viewer_data(PICTURE, trace, DrawingSettings(reading="refined"))
    assert [each["name"] for each in data["readings"]] == ["plain", "refined"]
    assert data["settings"]["reading"] == "refined"
    chips = {chip["term"]: chip for prompt in data["prompts"] for chip in prompt["chips"]}
    assert {term for term, chip in chips.items() if chip["readings"]} == {"red", "circle#1", "circle#2"}
    read = tracer.heat_maps().select(reading="refined")
    for term in ("red", "circle#2"):
        (tile,) = chips[term]["readings"]["refined"]
        assert _cut_out(data, tile) == pytest.approx(read.by_size(term)[8, 8].numpy(), abs=tile["max"] / 500)
    plain = viewer_data(PICTURE, replace(trace, keep=()), DrawingSettings(reading="refined"))
    assert [each["name"] for each in plain["readings"]] == ["plain"] and plain["settings"]["reading"] == "plain"
    balanced = viewer_data(PICTURE, replace(trace, keep=()), DrawingSettings(reading="balanced"))
    assert [each["name"] for each in balanced["readings"]] == ["plain", "balanced"]


def _cut_out(data: dict[str, Any], tile: dict[str, Any]) -> np.ndarray:
    height, width = tile["height"], tile["width"]
    block = data["atlas"]["blocks"][f"{height}x{width}"]
    row, column = divmod(tile["number"], block["columns"])
    atlas = np.asarray(image_of(data["atlas"]["image"]))
    top, left = block["top"] + row * height, column * width
    return atlas[top : top + height, left : left + width] / 255 * tile["max"]
