"""How Forge and Forge Neo turn texts into tokens and contexts: by the loaded model's own text engines.

An engine is no torch module and is called with texts; the module inside it is called with tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from backend import args
from backend.text_processing import classic_engine, emphasis
from modules import prompt_parser, shared
from torch import Tensor, nn

from daam.errors import TraceError
from daam.hosts.fast_tokenizers import with_places
from daam.prompt.t5 import T5, Runs
from daam.webui.hosts.webui_sampling import contexts_of
from daam.webui.hosts.webui_texts import WebuiTexts

COMMA_PADDING = 20
"""What the engines do, whatever the setting "Prompt word wrap length limit" says."""
USER = [872, 198]
"""What names the user's turn to Qwen: "user" and the end of the line."""
_ENGINES = ("text_processing_engine", "text_processing_engine_l", "text_processing_engine_g")
"""Of SD 1, and of SDXL's two encoders."""
_LLMS = ("text_processing_engine_gemma", "text_processing_engine_qwen")
"""By the first name Forge Neo has Qwen 3 and Klein's too, not only Gemma 2."""


class ForgeTexts(WebuiTexts):
    """See `protocol.Texts`."""

    encodes_while_sampling = False
    """For the encoder the host would move the model that samples out of the accelerator's memory."""

    def text_encoders(self) -> list[Any]:
        """The loaded model's engines that cut prompts into chunks, where the columns of its context are theirs."""
        model = shared.sd_model
        if not (getattr(model, "is_sd1", False) or getattr(model, "is_sd2", False) or getattr(model, "is_sdxl", False)):
            return []  # Flux has such an engine too, for a vector that has no columns
        engines = [getattr(model, name, None) for name in _ENGINES]
        return [engine for engine in engines if isinstance(engine, classic_engine.ClassicTextProcessingEngine)]

    def tokenizer(self) -> Any:
        engines = self.text_encoders()
        return engines[0].tokenizer if engines else None

    def t5(self, *, negative: bool = False) -> T5 | None:
        """Of Flux and Chroma T5, of Z-Image Qwen 3, of Qwen-Image and Krea 2 one that sees, of Lumina 2 Gemma 2.

        None where the model has none of them.
        Anima is conditioned by T5's tokens too, of which a network of its own makes the vectors.
        """
        t5 = getattr(shared.sd_model, "text_processing_engine_t5", None)
        llm: Any = next((getattr(shared.sd_model, name) for name in _LLMS if hasattr(shared.sd_model, name)), None)
        if t5 is not None and not self.text_encoders():
            return T5(lambda runs: _cut(t5.tokenizer, _texts(runs)), lambda text, _: _tokens(t5, text), "end")
        anima = getattr(shared.sd_model, "text_processing_engine_anima", None)
        if anima is not None:
            return T5(
                lambda runs: _cut(anima.t5_tokenizer, _texts(runs)), lambda text, _: _anima_tokens(anima, text), "word"
            )
        if hasattr(llm, "llama_template"):
            return _in_template(llm)
        if hasattr(llm, "process_template"):
            return _behind_template(llm, negative=negative)
        return None

    def chunk_tokens(self, encoder: Any, text: str) -> list[list[int]]:
        """The token ids of each chunk of 77 columns; an engine looks at the emphasis setting only when it encodes."""
        return _chunks(encoder, text)

    def encode_context(self, text: str) -> Tensor:
        """The context [column, channel] that the loaded checkpoint's own encoders make of a text."""
        with torch.no_grad(), _no_trace_in_infotexts():
            # as of the negative prompt: with a positive one Forge Neo's Flux takes the pictures that it refers to
            batch = prompt_parser.SdConditioning([text], is_negative_prompt=True, width=1024, height=1024)
            encoded = shared.sd_model.get_learned_conditioning(batch)
            return contexts_of(torch.stack(encoded) if isinstance(encoded, list) else encoded)[0]

    def text_model(self) -> nn.Module | None:
        return None

    def read_encoding(self, arguments: tuple[Any, ...], encoded: Any) -> list[tuple[str, Tensor]]:
        return []

    def embedding_vectors(self) -> dict[str, int]:
        """Number of vectors of each textual-inversion embedding that fits the checkpoint, in the order of loading."""
        engines = self.text_encoders()
        embeddings = engines[0].embeddings.word_embeddings if engines else {}
        return {name: int(embedding.vectors) for name, embedding in embeddings.items()}

    def comma_padding(self) -> int:
        return COMMA_PADDING


def _chunks(engine: Any, text: str) -> list[list[int]]:
    engine.emphasis = emphasis.get_current_option(shared.opts.emphasis)()
    made = engine.tokenize_line(text)
    chunks = made[0] if isinstance(made, tuple) else made
    return [list(chunk.tokens) for chunk in chunks]


def _tokens(engine: Any, text: str) -> list[int]:
    """Those that condition a picture: what stands behind a BREAK is another text to the host, which it does not use."""
    return _chunks(engine, text)[0]


def _anima_tokens(engine: Any, text: str) -> list[int]:
    engine.emphasis = emphasis.get_current_option(shared.opts.emphasis)()
    return list(engine.tokenize_line(text)[0].t5_tokens)


def _texts(runs: Runs) -> list[str]:
    return [text for text, _ in runs]


def _in_template(engine: Any) -> T5:
    """Each run stands in the template; of Qwen-Image and Krea 2 the beginning of the first is cut off once encoded."""
    before, _, after = engine.llama_template.partition("{}")

    def cut_off(tokens: Sequence[int]) -> int:
        return _cut_off(tokens, engine.id_template) if hasattr(engine, "strip_template") else 0

    def cut(runs: Runs) -> list[list[tuple[int, int, int]]]:
        found = _cut(engine.tokenizer, _texts(runs), before, after, adds_special=True)
        count = cut_off([token for pieces in found for token, *_ in pieces])
        return [pieces[count:] if number == 0 else pieces for number, pieces in enumerate(found)]

    def tokens(text: str, _: int) -> list[int]:
        whole = _tokens(engine, text)
        return whole[cut_off(whole) :]

    return T5(cut, tokens, "word")


def _cut_off(tokens: Sequence[int], begins_turn: int) -> int:
    """How many tokens are cut off: up to the second turn, which is the user's, and what names it."""
    turns = [place for place, token in enumerate(tokens) if token == begins_turn][:2]
    count = turns[-1] if turns else 0
    return count + 3 if list(tokens[count + 1 : count + 3]) == USER else count


def _behind_template(engine: Any, *, negative: bool) -> T5:
    """Of Lumina 2: a template of the settings is put before the text, and makes one run with its first, if that has no
    weight."""

    def framed(text: str) -> str:
        return str(engine.process_template(text, negative))

    def cut(runs: Runs) -> list[list[tuple[int, int, int]]]:
        text = "".join(_texts(runs))
        before = framed(text).removesuffix(text)
        if set(before) & set("()[]\\"):
            raise TraceError("expected a template of Lumina without brackets in the settings, got one with emphasis")
        (first, weight), *others = runs or [("", 1.0)]
        apart, joined = ("", before) if weight == 1.0 else (before, "")
        head = [engine.id_start, *(token for token, *_ in _cut(engine.tokenizer, [apart])[0])]
        own = _cut(engine.tokenizer, [first], joined)[0]
        return [[*((token, 0, 0) for token in head), *own], *_cut(engine.tokenizer, _texts(others))]

    return T5(cut, lambda text, _: _tokens(engine, framed(text)), "end")


def _cut(
    tokenizer: Any, texts: Sequence[str], before: str = "", after: str = "", *, adds_special: bool = False
) -> list[list[tuple[int, int, int]]]:
    """Tokens of texts, each in what its engine puts around it, with their places in the text.

    Raises:
        TraceError: the tokenizer does not say where its tokens stand.
    """
    fast = with_places(tokenizer)  # Forge Neo loads a slow one for Z-Image; `daam.prompt.t5` compares the tokens
    if not texts:
        return []
    framed = [f"{before}{text}{after}" for text in texts]
    found = fast(framed, truncation=False, return_offsets_mapping=True, add_special_tokens=adds_special)
    return [
        [(token, *_inside(place, len(before), len(text))) for token, place in zip(tokens, places)]
        for text, tokens, places in zip(texts, found["input_ids"], found["offset_mapping"])
    ]


def _inside(place: tuple[int, int], start: int, length: int) -> tuple[int, int]:
    """What a token has of a text that begins at `start`; nothing where it is the template's."""
    first, last = max(place[0] - start, 0), min(place[1] - start, length)
    return (first, last) if first < last else (0, 0)


@contextmanager
def _no_trace_in_infotexts() -> Iterator[None]:
    """The engines keep what a text used, emphasis or embeddings, for the next picture's infotext."""
    forges = getattr(classic_engine, "last_extra_generation_params", None)
    kept: dict[str, Any] = args.dynamic_args.last_extra_generation_params if forges is None else forges  # Neo's
    before = dict(kept)
    try:
        yield
    finally:
        kept.clear()
        kept.update(before)
