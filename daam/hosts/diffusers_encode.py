"""Encodes a token table as the WebUI does: chunk by chunk, with weights on the embedding. SD1, SD2 and SDXL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from daam.errors import ModelError
from daam.prompt.table import Chunk, ScheduleEntry


@dataclass(frozen=True)
class Encoded:
    """What a UNet takes of one text: [1, 77 * chunks, channel] and, for SDXL, [1, channel] of the whole text."""

    context: Tensor
    pooled: Tensor | None


class TextEncoding:
    """The text encoders of one pipeline."""

    def __init__(self, pipeline: Any, emphasis: str = "Original"):
        """
        Raises:
            ModelError: the pipeline has no CLIP text encoder.
        """
        pairs = [
            (getattr(pipeline, f"text_encoder{suffix}", None), getattr(pipeline, f"tokenizer{suffix}", None))
            for suffix in ("", "_2")
        ]
        self._pairs = [(encoder, tokenizer) for encoder, tokenizer in pairs if encoder is not None]
        if not self._pairs:
            raise ModelError(f"expected a pipeline with a CLIP text encoder, got {type(pipeline).__name__}")
        self._is_xl = hasattr(pipeline, "text_encoder_2")
        self._zeros_if_empty = bool(pipeline.config.get("force_zeros_for_empty_prompt", False))
        self._emphasis = emphasis

    @torch.no_grad()
    def encode(self, entry: ScheduleEntry) -> Encoded:
        """The chunks one after another; the first chunk's pooled vector stands for the text, as in the WebUI."""
        chunks = [self._encode_chunk(chunk) for chunk in entry.chunks]
        return Encoded(torch.cat([context for context, _ in chunks], dim=1), chunks[0][1])

    def encode_negative(self, entry: ScheduleEntry) -> Encoded:
        """The same for a negative prompt: SDXL's base was trained with zeros for an empty one."""
        encoded = self.encode(entry)
        if not (self._zeros_if_empty and entry.token_count == 0):
            return encoded
        pooled = None if encoded.pooled is None else torch.zeros_like(encoded.pooled)
        return Encoded(torch.zeros_like(encoded.context), pooled)

    def _encode_chunk(self, chunk: Chunk) -> tuple[Tensor, Tensor | None]:
        contexts, pooled = [], None
        for encoder, tokenizer in self._pairs:
            tokens = torch.tensor([_pad(chunk.tokens, tokenizer)], device=encoder.device)
            output = encoder(tokens, output_hidden_states=self._is_xl)
            # SDXL was trained on the layer before the last, without the final norm
            context = output.hidden_states[-2] if self._is_xl else output[0]
            contexts.append(self._weigh(context, chunk))
            pooled = output[0] if self._is_xl else None
        return torch.cat(contexts, dim=-1), pooled

    def _weigh(self, context: Tensor, chunk: Chunk) -> Tensor:
        """Each position times its weight; "Original" then restores the mean of the whole chunk."""
        if self._emphasis not in ("Original", "No norm"):
            return context
        weights = torch.tensor(chunk.multipliers, device=context.device, dtype=context.dtype)
        weighted = context * weights[None, :, None]
        if self._emphasis == "No norm" or bool((weights == 1).all()):
            return weighted
        mean = weighted.mean()
        return weighted * (context.mean() / mean) if bool(mean) else weighted


def _pad(tokens: tuple[int, ...], tokenizer: Any) -> list[int]:
    """The same ids, padded after the first end as this encoder's tokenizer pads: SD2 and SDXL's second use 0."""
    end = tokenizer.eos_token_id
    first_end = tokens.index(end) if end in tokens else len(tokens)
    return [token if place <= first_end or token != end else tokenizer.pad_token_id for place, token in
            enumerate(tokens)]  # fmt: skip
