"""SD.Next: which column has which word of what its own parser encodes, and the maps of a batch; without SD.Next.

Against stand-ins that do as its parser and its processing do, with the embedded model as its pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import daam
from daam.errors import TraceError
from daam.prompt import PromptTable
from daam.prompt.terms import parse_terms
from tests.extension.fake_sdnext import FakeSdNext, fake_sdnext, processing

pytestmark = pytest.mark.slow
PROMPT, NEGATIVE = "a (red:1.3) circle, (blue:0.8) square", "a green star"


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return daam.load_pipeline()


@pytest.fixture
def sdnext(pipeline: Any) -> Iterator[FakeSdNext]:
    with fake_sdnext(pipeline) as fake:
        yield fake


def host() -> Any:
    return import_module("daam.webui.hosts.sdnext").SdNext()


def table(pipeline: Any, prompt: str, *, steps: int = 4, parser: str = "native", negative: bool = False) -> PromptTable:
    texts = import_module("daam.webui.hosts.sdnext_texts")
    encoded = prompt.replace("<lora:x:1>", "")
    found: PromptTable = texts.clip_table(pipeline, prompt, encoded, steps, parser, negative=negative)
    return found


def words(found: PromptTable, entry: int = 0) -> list[tuple[int, str, float]]:
    """Column, what was typed there, and weight, of all columns with something typed."""
    columns = found.parts[0].schedule[entry].columns
    return [(each.column, found.prompt[slice(*each.span)], each.weight) for each in columns if each.span is not None]


def traced(fake: FakeSdNext, p: Any, **wanted: Any) -> tuple[list[Any], Any]:
    """The pictures of a batch that is watched, and the watch."""
    hosts = import_module("daam.webui.hosts.protocol")
    watch = host().own_watch(p, hosts.Wanted(**wanted))
    with watch.installed():
        pictures = fake.process_diffusers(p)
    return pictures, watch


def hooks(pipeline: Any) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in pipeline.unet.modules())


def test_words_are_where_the_parsers_fragments_were_typed(sdnext: FakeSdNext, pipeline: Any) -> None:
    found = table(pipeline, "a (red:1.3), circle <lora:x:1>2")
    assert words(found) == [(1, "a", 1.0), (2, "red", 1.3), (3, "circle", 1.0), (4, "2", 1.0)], "its comma is left out"
    assert [tag.text for tag in found.tags] == ["<lora:x:1>"]


@pytest.mark.parametrize("prompt", ["赤い円 and (青い:1.2) 四角", "a red circle 🐈 and a (blue:1.2) square 🌞"])
def test_a_letter_of_several_tokens_is_where_it_was_typed(sdnext: FakeSdNext, pipeline: Any, prompt: str) -> None:
    found = words(table(pipeline, prompt))
    letters = [piece for number, (_, piece, _) in enumerate(found) if number == 0 or piece != found[number - 1][1]]
    assert "".join(letters) == "".join(prompt.replace("(", "").replace(":1.2)", "").split())
    assert len(found) > len(letters) and {weight for *_, weight in found} == {1.0, 1.2}


def test_break_begins_a_chunk_of_the_prompt_and_is_a_word_of_the_negative_prompt(
    sdnext: FakeSdNext, pipeline: Any
) -> None:
    assert words(table(pipeline, "a BREAK bee")) == [(1, "a", 1.0), (78, "bee", 1.0)]
    found = table(pipeline, "a BREAK bee", negative=True)
    assert words(found) == [(1, "a", 1.0), (3, "bee", 1.0)], "column 2 is the word break, which nobody typed as one"


def test_long_prompts_are_cut_where_the_host_cuts_them(sdnext: FakeSdNext, pipeline: Any) -> None:
    found = words(table(pipeline, "a red circle. " + "tree " * 80))
    assert found[3][:2] == (4, ".") and found[4][:2] == (78, "tree"), "behind the sentence, not after 75 tokens"
    hard = words(table(pipeline, "a red circle. " + "tree " * 80, parser="xhinker"))
    assert hard[4][:2] == (5, "tree") and hard[75][0] == 78


def test_texts_of_a_schedule_last_as_long_as_the_host_says(sdnext: FakeSdNext, pipeline: Any) -> None:
    schedule = table(pipeline, "a [cat:dog:2]", steps=4).parts[0].schedule
    assert [(each.first_step, each.end_at_step, each.text) for each in schedule] == [(1, 2, "a cat"), (3, 4, "a dog")]


def test_what_only_further_encoders_read_has_no_columns(sdnext: FakeSdNext, pipeline: Any) -> None:
    texts = import_module("daam.webui.hosts.sdnext_texts")
    assert texts.further_texts("a cat TE2: a dog") == "TE2: a dog"
    assert [word for _, word, _ in words(table(pipeline, "a cat TE2: a dog"))] == ["a", "cat"]


def test_what_the_parser_made_otherwise_is_refused(
    sdnext: FakeSdNext, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdnext.embedder, "get_prompts_with_weights", lambda *_: (("a cow",), (1.0,)))
    with pytest.raises(TraceError, match="made 'cow' of the prompt, which is not where it was typed"):
        table(pipeline, "a cat")
    with pytest.raises(TraceError, match="parser 'fixed' is not known"):
        table(pipeline, "a cat", parser="fixed")


def test_a_batch_has_the_maps_of_its_own_texts_and_its_pictures_untouched(sdnext: FakeSdNext, pipeline: Any) -> None:
    prompts = [PROMPT, "a house"]
    p = processing(prompts, [NEGATIVE, ""])
    plain = sdnext.process_diffusers(p)
    pictures, watch = traced(sdnext, p, with_negative=True)
    assert [each.tobytes() for each in pictures] == [each.tobytes() for each in plain]
    assert hooks(pipeline) == 0 and "encode_prompt" not in vars(pipeline)

    arguments = sdnext.calls[-1]
    with daam.trace(pipeline) as tracer:
        tracer.expect([table(pipeline, prompt) for prompt in prompts], [NEGATIVE, None])
        pipeline(**{**arguments, "generator": [torch.Generator().manual_seed(seed) for seed in range(2)]})
    for image, word in ((0, "square"), (1, "house")):
        ours = daam.HeatMaps(watch.image_trace(image))[word].values
        assert np.array_equal(ours, tracer.heat_maps(image)[word].values)
    negative = daam.HeatMaps(watch.image_trace(0), side="negative")
    assert list(negative) == ["a", "green", "star"]
    without = traced(sdnext, p)[1].image_trace(0)
    assert {key.side for key in without.texts} == {"positive"}


def test_both_passes_of_hires_fix_are_added_up_or_one_is_chosen(sdnext: FakeSdNext) -> None:
    p = processing([PROMPT], [NEGATIVE], enable_hr=True)
    both = traced(sdnext, p, keep_steps=True)[1].image_trace(0)
    assert both.calls == 4 and [part.sampling_pass for part in both.positive.parts] == [0, 1]
    assert sorted({step for maps in both.texts.values() for step in maps.steps}) == [0, 1, 2, 3]
    (term,) = parse_terms("circle")
    total = daam.HeatMaps(both)[term.text].values
    one = [daam.HeatMaps(traced(sdnext, p, passes=each)[1].image_trace(0))["circle"] for each in ("first", "second")]
    assert np.allclose(total, sum(each.values for each in one), atol=1e-4)
    assert traced(sdnext, p, passes="second")[1].image_trace(0).calls == 2


def test_a_fault_costs_no_picture_and_is_said(sdnext: FakeSdNext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdnext.embedder, "get_prompts_with_weights", lambda *_: (("a cow",), (1.0,)))
    pictures, watch = traced(sdnext, processing(["a cat"], [""]))
    assert len(pictures) == 1
    with pytest.raises(TraceError, match="the trace stopped: SD.Next's prompt parser made 'cow'"):
        watch.image_trace(0)


def test_what_is_not_in_the_maps_is_said(sdnext: FakeSdNext) -> None:
    trace = traced(sdnext, processing(["a cat TE2: a dog"], [""], detailer_enabled=True))[1].image_trace(0)
    assert any("'TE2: a dog' was read by the further text encoders alone" in remark for remark in trace.remarks)
    assert any("the detailer makes parts of the picture anew" in remark for remark in trace.remarks)


def test_another_objects_batch_is_not_watched(sdnext: FakeSdNext) -> None:
    p = processing(["a cat"], [""])
    protocol = import_module("daam.webui.hosts.protocol")
    watch = host().own_watch(p, protocol.Wanted())
    with watch.installed():
        sdnext.process_diffusers(processing(["a dog"], [""]))
    with pytest.raises(TraceError, match="no step of the first pass ran"):
        watch.image_trace(0)


def test_a_model_that_is_not_known_is_refused_in_one_sentence(sdnext: FakeSdNext) -> None:
    p = processing(["a cat"], [""])
    watch = host().own_watch(p, import_module("daam.webui.hosts.protocol").Wanted())
    with watch.installed():
        named = {"p": p, "model": object(), "desc": "Base"}
        watch._see_arguments(named, {})
    with pytest.raises(TraceError, match="expected a diffusers pipeline with a UNet or a transformer"):
        watch.image_trace(0)


def test_pictures_are_told_from_grids_and_masks_by_their_infotexts(sdnext: FakeSdNext) -> None:
    def picture(infotext: str = "") -> Image.Image:
        made = Image.new("RGB", (8, 8))
        made.info.update({"parameters": infotext} if infotext else {})
        return made

    second = "a cat\nNegative prompt: Index: 9x9\nSteps: 4, Index: 2x1, Size: 8x8"
    images = [picture(), picture(), picture("a cat\nSteps: 4, Index: 1x2"), picture(second)]
    shown = SimpleNamespace(images=images, index_of_first_image=1)
    p = processing(["a cat", "a dog"], ["", ""])
    assert host().generated_pictures(p, shown) == {1: 2, 2: 3}, "of two equal pictures the host keeps one"
    alone = SimpleNamespace(images=[picture("a cat\nSteps: 4")], index_of_first_image=0)
    assert host().generated_pictures(p, alone) == {0: 0}


@pytest.mark.parametrize("before", [{}, {"save_images_add_number": True}], ids=["unset", "set"])
def test_what_is_saved_beside_a_picture_has_its_name_without_another_number(
    sdnext: FakeSdNext, before: dict[str, Any]
) -> None:
    options, saved = sdnext.shared.opts, []
    options.data.update(before)

    def save_image(_image: Any, folder: str, *_: Any, **named: Any) -> None:
        saved.append((folder, named["forced_filename"], options.data["save_images_add_number"]))

    vars(sdnext.modules["modules.images"])["save_image"] = save_image
    picture = Image.new("RGB", (8, 8))
    picture.already_saved_as = "/out/00003-a cat.png"  # type: ignore[attr-defined]
    p = processing(["a cat"], [""], samples_save=True, do_not_save_samples=False, all_seeds=[1])
    host().save_beside(p, picture, picture, 0, "heatmap-cat", "a cat")
    assert saved == [("/out", "00003-a cat-heatmap-cat", False)] and options.data == before


def test_the_hires_pass_is_one_only_where_it_samples(sdnext: FakeSdNext) -> None:
    p = processing(["a"], [""], enable_hr=True, hr_force=False, hr_upscaler="ESRGAN")
    assert not host().has_hires_pass(p)
    p.hr_upscaler = "Latent Nearest"
    assert host().has_hires_pass(p)


def test_what_we_ask_the_parser_leaves_nothing_for_the_next_infotext(sdnext: FakeSdNext, pipeline: Any) -> None:
    pipeline.embedding_db = SimpleNamespace(embeddings_used=["own"])
    try:
        table(pipeline, "a cat")
        assert pipeline.embedding_db.embeddings_used == ["own"]
    finally:
        del pipeline.embedding_db
