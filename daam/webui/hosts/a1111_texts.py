"""How AUTOMATIC1111's WebUI turns texts into tokens and contexts: its encoders and its settings of now."""

from __future__ import annotations

from typing import Any

import torch
from modules import devices, prompt_parser, sd_hijack, shared
from torch import Tensor, nn

from daam.prompt.t5 import T5, Runs
from daam.webui.hosts.webui_texts import WebuiTexts


class A1111Texts(WebuiTexts):
    """See `protocol.Texts`."""

    encodes_while_sampling = True

    def text_encoders(self) -> list[Any]:
        """The loaded checkpoint's CLIP encoders, which cut prompts into chunks: one, or two for SDXL."""
        conditioner = shared.sd_model.cond_stage_model
        sd3 = getattr(conditioner, "model_lg", None)  # since 1.10; its T5 columns come after those of CLIP
        candidates = [conditioner, *getattr(conditioner, "embedders", []), sd3]
        return [encoder for encoder in candidates if callable(getattr(encoder, "tokenize_line", None))]

    def tokenizer(self) -> Any:
        return None

    def t5(self, *, negative: bool = False) -> T5 | None:
        """None where SD3's T5 is switched off, too."""
        encoder: Any = getattr(shared.sd_model.cond_stage_model, "model_t5", None)  # since 1.10
        if getattr(encoder, "t5xxl", None) is None or not getattr(shared.opts, "sd3_enable_t5", False):
            return None

        def cut(runs: Runs) -> list[list[tuple[int, int, int]]]:
            texts = [text for text, _ in runs]
            found = encoder.tokenizer(texts, truncation=False, add_special_tokens=False, return_offsets_mapping=True)
            return [
                [(token, *place) for token, place in zip(*tokens)]
                for tokens in zip(found["input_ids"], found["offset_mapping"])
            ]

        def tokens(text: str, count: int) -> list[int]:
            return list(encoder.tokenize_line(text, target_token_count=count)[0])

        return T5(cut, tokens)

    def encode_context(self, text: str) -> Tensor:
        """The context [column, channel] that the loaded checkpoint's own encoders make of a text."""
        with torch.no_grad(), devices.autocast():
            batch = prompt_parser.SdConditioning([text], width=1024, height=1024)
            encoded = shared.sd_model.get_learned_conditioning(batch)
        context: Tensor = encoded["crossattn"] if isinstance(encoded, dict) else encoded
        return context[0]

    def text_model(self) -> nn.Module:
        """The module of the loaded checkpoint that encodes texts."""
        return shared.sd_model.cond_stage_model  # type: ignore[no-any-return]

    def read_encoding(self, arguments: tuple[Any, ...], encoded: Any) -> list[tuple[str, Tensor]]:
        """The texts of one call of the text model, each with its context [column, channel]."""
        texts = arguments[0]["txt"] if isinstance(arguments[0], dict) else arguments[0]  # a dict for SDXL
        contexts = encoded["crossattn"] if isinstance(encoded, dict) else encoded
        return list(zip(texts, contexts))

    def chunk_tokens(self, encoder: Any, text: str) -> list[list[int]]:
        """The token ids of each chunk of 77 columns that the WebUI makes of a text."""
        chunks, _ = encoder.tokenize_line(text)
        return [list(chunk.tokens) for chunk in chunks]

    def embedding_vectors(self) -> dict[str, int]:
        """Number of vectors of each textual-inversion embedding that fits the checkpoint, in the order of loading."""
        embeddings = sd_hijack.model_hijack.embedding_db.word_embeddings
        return {name: int(embedding.vectors) for name, embedding in embeddings.items()}

    def comma_padding(self) -> int:
        """How far back a comma may be for the text after it to move to the next chunk; SD3's encoder moves nothing."""
        knows_comma = any(getattr(encoder, "comma_token", None) is not None for encoder in self.text_encoders())
        return int(shared.opts.comma_padding_backtrack) if knows_comma else 0
