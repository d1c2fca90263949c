"""What Forge and Forge Neo are asked of texts and calls: against fakes that do as their engines and samplers do."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daam.demo_model import TOKENIZER
from daam.errors import TraceError
from daam.tracing.plan import ModelCall
from daam.webui.hosts.rows import Row
from tests.extension.fake_forge import FakeForge, fake_forge


@pytest.fixture(params=[True, False], ids=["Forge Neo", "Forge"])
def forge(request: pytest.FixtureRequest) -> Iterator[FakeForge]:
    with fake_forge(is_neo=request.param) as fake:
        yield fake


def texts() -> Any:
    return import_module("daam.webui.hosts.forge_texts").ForgeTexts()


def sampling() -> Any:
    return import_module("daam.webui.hosts.forge_sampling").ForgeSampling()


def test_tokens_are_cut_by_the_emphasis_setting_of_now(forge: FakeForge) -> None:
    (encoder,) = texts().text_encoders()
    forge.shared.opts.emphasis = "None"
    assert texts().chunk_tokens(encoder, "a (cat)") == [["None", "a", "(cat)"]]


def test_what_we_encode_leaves_nothing_for_the_next_infotext(forge: FakeForge) -> None:
    forge.used["TI"] = "the host's own"
    assert texts().encode_context("a (cat:1.2)").shape == (77, 4)
    assert forge.used == {"TI": "the host's own"}


def test_a_word_is_encoded_as_of_the_negative_prompt(forge: FakeForge) -> None:
    """For a positive one Forge Neo's Flux takes the pictures that the generation refers to."""
    texts().encode_context("cat")
    assert forge.asked == [{"is_negative_prompt": True, "width": 1024, "height": 1024}]


def test_the_tokenizer_and_the_embeddings_are_the_engines(forge: FakeForge) -> None:
    assert texts().tokenizer() is forge.engine.tokenizer
    assert texts().embedding_vectors() == {"tinyword": 3}
    assert texts().comma_padding() == 20, "the engines do not follow the setting"


def test_without_a_loaded_model_there_is_nothing_and_no_error(forge: FakeForge) -> None:
    forge.shared.sd_model = SimpleNamespace()
    assert texts().text_encoders() == [] and texts().tokenizer() is None
    assert texts().t5() is None and texts().embedding_vectors() == {}
    with pytest.raises(TraceError, match="expected a checkpoint with a diffusion model"):
        sampling().current_unet()


class Fast:
    """A fast tokenizer: each letter is a token, and `<` and `>` are put around a text if it is asked to."""

    is_fast = True

    def __call__(self, texts: list[str], add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        ids, places = [], []
        for text in texts:
            own = [(ord(letter), (place, place + 1)) for place, letter in enumerate(text)]
            own = [(60, (0, 0)), *own, (62, (0, 0))] if add_special_tokens else own
            ids.append([token for token, _ in own])
            places.append([place for _, place in own])
        return {"input_ids": ids, "offset_mapping": places}


class Chunks:
    """An engine without chunks of 77: at BREAK it begins another text, which the host does not use."""

    def __init__(self) -> None:
        self.tokenizer = Fast()

    def tokenize_line(self, line: str) -> tuple[list[Any], int]:
        pieces = line.split("BREAK")
        return [SimpleNamespace(tokens=[*map(ord, piece), 1, 0]) for piece in pieces], len(line)


def test_of_flux_t5_alone_has_columns_and_break_is_the_end(forge: FakeForge) -> None:
    forge.shared.sd_model = SimpleNamespace(text_processing_engine_l=forge.engine, text_processing_engine_t5=Chunks())
    assert texts().text_encoders() == [], "CLIP gives Flux a vector, which has no columns"
    t5 = texts().t5()
    assert t5.cut([("ab", 1.0), ("c", 1.2)]) == [[(97, 0, 1), (98, 1, 2)], [(99, 0, 1)]]
    assert t5.tokens("abBREAKc", 0) == [97, 98, 1, 0] and t5.at_break == "end"


def test_of_z_image_the_template_around_each_run_is_no_word(forge: FakeForge) -> None:
    engine: Any = Chunks()
    engine.llama_template = "u{}a"
    forge.shared.sd_model = SimpleNamespace(text_processing_engine_gemma=engine)
    t5 = texts().t5()
    assert t5.cut([("x", 1.0)]) == [[(60, 0, 0), (117, 0, 0), (120, 0, 1), (97, 0, 0), (62, 0, 0)]]
    assert t5.at_break == "word"


class Behind(Chunks):
    """As Lumina 2's engine: a template before the text, with which the first run makes one if it has no weight."""

    id_start = 2

    def process_template(self, text: str, negative: bool) -> str:
        return text if ">" in text else f"{'n' if negative else 'p'}>{text}"

    def tokenize_line(self, line: str) -> Any:
        return [SimpleNamespace(tokens=[self.id_start, *map(ord, line.replace("(", "").replace(":1.2)", ""))])]


@pytest.mark.parametrize("negative", [False, True])
def test_of_lumina_the_template_before_the_text_is_no_word(forge: FakeForge, negative: bool) -> None:
    forge.shared.sd_model = SimpleNamespace(text_processing_engine_gemma=Behind())
    t5 = texts().t5(negative=negative)
    template = [(2, 0, 0), (ord("n" if negative else "p"), 0, 0), (ord(">"), 0, 0)]
    expected = [[*template, (97, 0, 1), (98, 1, 2)], [(99, 0, 1)]]
    assert t5.cut([("ab", 1.0), ("c", 1.2)]) == expected
    assert t5.cut([("ab", 1.2), ("c", 1.0)]) == expected, "a run with a weight is apart from the template"
    assert t5.tokens("ab(c:1.2)", 0) == [token for run in expected for token, *_ in run] and t5.at_break == "end"
    assert t5.cut([(">a", 1.0)]) == [[(2, 0, 0), (62, 0, 1), (97, 1, 2)]], "who types a template gets no other"
    assert t5.cut([]) == [template]


def test_of_lumina_a_template_with_emphasis_is_refused(forge: FakeForge) -> None:
    engine: Any = Behind()
    engine.process_template = lambda text, negative: f"(best:1.2) {text}"
    forge.shared.sd_model = SimpleNamespace(text_processing_engine_gemma=engine)
    with pytest.raises(TraceError, match="without brackets"):
        texts().t5().cut([("a", 1.0)])


def test_a_tokenizer_without_places_is_refused(forge: FakeForge) -> None:
    engine: Any = Chunks()
    engine.tokenizer = SimpleNamespace(is_fast=False)
    forge.shared.sd_model = SimpleNamespace(text_processing_engine_t5=engine)
    with pytest.raises(TraceError, match="does not say where its tokens stand"):
        texts().t5().cut([("a", 1.0)])


def test_a_tokenizer_without_places_has_those_of_the_fast_one_in_its_folder(forge: FakeForge) -> None:
    engine: Any = Chunks()
    engine.llama_template = "red {} blue"
    engine.tokenizer = SimpleNamespace(is_fast=False, name_or_path=str(TOKENIZER))
    forge.shared.sd_model = SimpleNamespace(text_processing_engine_gemma=engine)
    (pieces,) = texts().t5().cut([("a circle", 1.0)])
    assert [(start, end) for _, start, end in pieces] == [(0, 0), (0, 0), (0, 1), (2, 8), (0, 0), (0, 0)]


def schedule(value: float, end: int = 4) -> list[Any]:
    return [SimpleNamespace(end_at_step=end, cond={"crossattn": torch.full((77, 4), value), "vector": None})]


def params(images: int, uncond: Any) -> Any:
    batch = [[SimpleNamespace(schedules=schedule(image + 1.0))] for image in range(images)]
    arguments = {"cond": SimpleNamespace(batch=batch), "uncond": uncond}
    denoiser = SimpleNamespace(p="owner", step=2, sampler=SimpleNamespace(sampler_extra_args=arguments))
    text = {"crossattn": torch.zeros(images, 77, 4)}
    negative = None if uncond is None else {"crossattn": torch.zeros(images, 77, 4)}
    return SimpleNamespace(
        denoiser=denoiser, x=torch.zeros(images, 4, 8, 9), text_cond=text, text_uncond=negative
    )  # the latents have one row for each picture, not for each row of the model's call


def test_a_denoiser_call_is_read_with_its_rows_and_what_was_encoded(forge: FakeForge) -> None:
    call = sampling().read_denoiser_call(params(2, [schedule(7.0), schedule(8.0)]), None)
    assert (call.owner, call.step, call.height, call.width) == ("owner", 2, 8, 9)
    named = {"transformer_options": {"cond_or_uncond": [0, 1]}}
    rows = call.order.take(ModelCall(4, 8, 9, torch.zeros(4, 77, 4), named=named))
    assert rows == [Row(0, "positive"), Row(1, "positive"), Row(0, "negative"), Row(1, "negative")]
    assert [float(row.context[0, 0]) for row in rows] == [1.0, 2.0, 7.0, 8.0]
    assert len(call.encoded.positive) == len(call.encoded.negative) == 2


def test_at_cfg_1_the_host_encodes_no_negative_prompt(forge: FakeForge) -> None:
    call = sampling().read_denoiser_call(params(1, None), None)
    named = {"transformer_options": {"cond_or_uncond": [0]}}
    assert call.order.take(ModelCall(1, 8, 9, torch.zeros(1, 77, 4), named=named)) == [Row(0, "positive")]
    assert call.encoded.negative == []


def test_the_model_is_found_however_often_the_objects_around_it_are_copied(forge: FakeForge) -> None:
    module = torch.nn.Linear(1, 1)
    unet = SimpleNamespace(model=SimpleNamespace(diffusion_model=module))
    forge.shared.sd_model = SimpleNamespace(forge_objects=SimpleNamespace(unet=unet))
    assert sampling().current_unet() is module and sampling().latent_factor == 8
