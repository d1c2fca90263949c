"""How Forge and Forge Neo turn texts into tokens and contexts: by the loaded model's own text engines.

An engine is no torch module and is called with texts; the module inside it is called with tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from backend import args
from backend.text_processing import classic_engine, emphasis
from modules import prompt_parser, shared
from torch import Tensor, nn

from daam.prompt.t5 import T5
from daam.webui.hosts.webui_sampling import context_of
from daam.webui.hosts.webui_texts import WebuiTexts

COMMA_PADDING = 20
"""What the engines do, whatever the setting "Prompt word wrap length limit" says."""
_ENGINES = ("text_processing_engine", "text_processing_engine_l", "text_processing_engine_g")
"""Of SD 1, and of SDXL's two encoders."""


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

    def t5(self) -> T5 | None:
        return None

    def chunk_tokens(self, encoder: Any, text: str) -> list[list[int]]:
        """The token ids of each chunk of 77 columns; an engine looks at the emphasis setting only when it encodes."""
        encoder.emphasis = emphasis.get_current_option(shared.opts.emphasis)()
        chunks, _ = encoder.tokenize_line(text)
        return [list(chunk.tokens) for chunk in chunks]

    def encode_context(self, text: str) -> Tensor:
        """The context [column, channel] that the loaded checkpoint's own encoders make of a text."""
        with torch.no_grad(), _no_trace_in_infotexts():
            batch = prompt_parser.SdConditioning([text], width=1024, height=1024)
            return context_of(shared.sd_model.get_learned_conditioning(batch))[0]

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
