"""How each kind of pipeline encodes its prompts: which texts a call of `encode_prompt` read, and what came of them.

One class and one entry of `PROMPT_KINDS` for each kind. Nothing of diffusers is imported.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from daam.errors import PromptError, ShapeError, TraceError
from daam.hosts.diffusers_columns import Framed, fitted, framed_table, joined, stretched
from daam.hosts.diffusers_encode import TextEncoding
from daam.hosts.diffusers_tokens import plain_table
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.table import PromptTable
from daam.tracing.plan import Side

Given = Mapping[str, Any]
"""What `encode_prompt` was called with, by name; empty for a text that somebody else has encoded."""


@dataclass(frozen=True)
class Encoded:
    """What one side was encoded to.

    Attributes:
        contexts: [column, channel] for each picture, or for each prompt where pictures are told later.
        lengths: how many columns of each hold tokens; None where that is not said.
    """

    contexts: Sequence[Tensor]
    lengths: Sequence[int] | None = None


class PromptKind(Protocol):
    """How one kind of pipeline encodes prompts.

    Attributes:
        has_own_calls: each side is encoded by a call of its own, the positive one first.
        repeats_later: `encode_prompt` does not know how many pictures are made of a prompt.
        second_note: what to know where there were further prompts, as a sentence with a place for them.
    """

    has_own_calls: ClassVar[bool]
    repeats_later: ClassVar[bool]
    second_note: ClassVar[str]

    def prompts(self, given: Given, side: Side) -> list[str] | None:
        """The texts whose columns a side has; None where it was given embeddings, or there is no such side."""

    def second_prompts(self, given: Given) -> list[str]:
        """Other texts that were encoded into the same columns, or beside them; they have no map."""

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        """What `encode_prompt` gave: of a kind with calls of its own, one side under "positive", whichever it is."""

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        """Which column stands for which word.

        Raises:
            PromptError: a text and its tokens cannot be brought together.
        """

    def alone(self, text: str) -> tuple[PromptTable, Tensor]:
        """A text that is encoded by itself: which column stands for which word, and [column, channel].

        Raises:
            PromptError, TraceError: as for `table` and `fitted`, or the pipeline encodes no text by itself.
        """

    def fitted(self, table: PromptTable, columns: int, length: int | None) -> PromptTable:
        """The table, checked against what was really encoded; args: as for `diffusers_columns.fitted`.

        Raises:
            TraceError: the text was encoded in another way.
        """


class _Kind:
    """What most kinds have in common."""

    has_own_calls: ClassVar[bool] = False
    repeats_later: ClassVar[bool] = False
    second_note: ClassVar[str] = (
        "a second prompt was used, {}: each column holds a token of both, and the maps name the first prompt's words "
        "only"
    )
    second: ClassVar[tuple[str, ...]] = ()
    """Arguments with further prompts."""

    def __init__(self, pipeline: Any):
        self._pipeline = pipeline

    def prompts(self, given: Given, side: Side) -> list[str] | None:
        positive = given.get("prompt")
        if positive is None or given.get("prompt_embeds") is not None:
            return None
        if side == "positive":
            return as_list(positive)
        negative = as_list(given.get("negative_prompt") or "")
        return negative * len(as_list(positive)) if len(negative) == 1 else negative

    def second_prompts(self, given: Given) -> list[str]:
        first = as_list(given.get("prompt") or "")
        found = [as_list(given[name]) for name in self.second if given.get(name)]
        return [text for texts in found if texts != first for text in texts]

    @torch.no_grad()
    def alone(self, text: str) -> tuple[PromptTable, Tensor]:
        known = {"prompt": text, "do_classifier_free_guidance": False}
        encode = self._pipeline.encode_prompt
        if "prompt" not in inspect.signature(encode).parameters:  # a host's own, which takes whatever it is given
            encode = functools.partial(type(self._pipeline).encode_prompt, self._pipeline)
        names = inspect.signature(encode).parameters.items()
        given = {name: known.get(name) for name, each in names if name in known or each.default is each.empty}
        encoded = self.encoded(encode(**given))["positive"]
        length = None if encoded.lengths is None else encoded.lengths[0]
        context = encoded.contexts[0]
        return self.fitted(self.table(text, {}, "positive"), len(context), length), context

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        raise NotImplementedError

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        raise NotImplementedError

    def fitted(self, table: PromptTable, columns: int, length: int | None) -> PromptTable:
        return fitted(table, columns, length)


class ClipPrompts(_Kind):
    """Stable Diffusion 1, 2 and XL: CLIP's 77 columns. SDXL's refiner has only the second tokenizer."""

    second = ("prompt_2",)

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        return _both(result[0], result[1])

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        return _clip_table(self._pipeline, prompt, self._pipeline.tokenizer or self._pipeline.tokenizer_2)

    def fitted(self, table: PromptTable, columns: int, length: int | None) -> PromptTable:
        return table

    def alone(self, text: str) -> tuple[PromptTable, Tensor]:
        tokenizer = ClipTokenizer.from_transformers(self._pipeline.tokenizer or self._pipeline.tokenizer_2)
        table = parse_prompt(text, tokenizer, emphasis="None", extra_networks=False, negative=True)
        return table, TextEncoding(self._pipeline).encode(table.parts[0].schedule[0]).context[0]


class Sd3Prompts(_Kind):
    """CLIP's 77 columns, those of its two encoders side by side, and T5's behind them."""

    second = ("prompt_2", "prompt_3")
    second_note = "further prompts were used, {}: the maps name the first prompt's words only"

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        return _both(result[0], result[1])

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        own = _clip_table(self._pipeline, prompt, self._pipeline.tokenizer)
        limit = given.get("max_sequence_length", 256)
        name = "prompt_3" if side == "positive" else "negative_prompt_3"
        typed = "prompt" if side == "positive" else "negative_prompt"
        is_other = bool(given.get(name)) and as_list(given[name]) != as_list(given.get(typed) or "")
        t5 = None
        if self._pipeline.text_encoder_3 is not None and not is_other:
            t5 = framed_table(prompt, self._pipeline.tokenizer_3, Framed(prompt, limit=limit))
        return joined(own, t5, len(own.parts[0].schedule[0].columns) + limit)


class FluxPrompts(_Kind):
    """T5's columns; CLIP's one vector of the whole text has none. A second prompt is the one that T5 gets."""

    has_own_calls = True
    second_note = (
        "the prompt {} was read by CLIP alone, whose one vector no position attends to; the maps are of `prompt_2`"
    )

    def prompts(self, given: Given, side: Side) -> list[str] | None:
        first = super().prompts(given, "positive")
        return as_list(given["prompt_2"]) if first is not None and given.get("prompt_2") else first

    def second_prompts(self, given: Given) -> list[str]:
        first, second = as_list(given.get("prompt") or ""), given.get("prompt_2")
        return first if second and as_list(second) != first else []

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        return {"positive": Encoded(result[0])}

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        return _t5_table(self._pipeline, prompt, self._pipeline.tokenizer_2, given)


class ChromaPrompts(_Kind):
    """T5's columns; the model is let look at the first column of padding too, and at nothing behind it."""

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        return _both(result[0], result[3], self._lengths(result[2]), self._lengths(result[5]))

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        return _t5_table(self._pipeline, prompt, self._pipeline.tokenizer, given)

    @staticmethod
    def _lengths(mask: Tensor | None) -> list[int] | None:
        if mask is None:
            return None
        return [int(seen) - (int(seen) < mask.shape[1]) for seen in mask.sum(dim=1).tolist()]


class LuminaPrompts(_Kind):
    """Gemma's columns, with a system prompt before a positive prompt."""

    divider = " <Prompt Start> "

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        return _both(result[0], result[2], _lengths(result[1]), _lengths(result[3]))

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        system = given.get("system_prompt")
        before = (self._pipeline.system_prompt if system is None else system) + self.divider
        before = before if side == "positive" else ""
        limit = given.get("max_sequence_length", 256)
        return framed_table(prompt, self._pipeline.tokenizer, Framed(before + prompt, len(before), limit=limit))


class QwenPrompts(_Kind):
    """Qwen 2.5-VL's columns behind a template whose beginning is cut off again."""

    has_own_calls = True

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        every = [result[0].shape[1]] * len(result[0])  # no mask stands for one that hides nothing
        return {"positive": Encoded(result[0], _lengths(result[1]) or every)}

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        template, dropped = self._pipeline.prompt_template_encode, self._pipeline.prompt_template_encode_start_idx
        limit = self._pipeline.tokenizer_max_length + dropped
        limit = min(limit, dropped + given.get("max_sequence_length", limit))
        framed = Framed(template.format(prompt), template.index("{}"), dropped, limit)
        return framed_table(prompt, self._pipeline.tokenizer, framed)


class QwenEditPrompts(QwenPrompts):
    """The same with the columns of a picture before what was typed."""

    def alone(self, text: str) -> tuple[PromptTable, Tensor]:
        raise TraceError("words that are not in the prompt cannot be probed where a picture is a part of every text")

    def fitted(self, table: PromptTable, columns: int, length: int | None) -> PromptTable:
        return fitted(stretched(table, columns if length is None else length), columns, length)


class _ChatPrompts(_Kind):
    """A chat template around the prompt, all of which the model sees."""

    is_thinking: ClassVar[bool]

    def table(self, prompt: str, given: Given, side: Side) -> PromptTable:
        limit = given.get("max_sequence_length", 512)
        return framed_table(prompt, self._pipeline.tokenizer, self._framed(prompt, limit))

    def _framed(self, prompt: str, limit: int) -> Framed:
        """Where the prompt stands is told by another one in its place: its words may be in the template too."""
        text, other = self._in_template(prompt), "\ue000"
        template = self._in_template(other)
        start = template.find(other)
        if start < 0 or text != template.replace(other, prompt):
            raise PromptError("the tokenizer's chat template changes what was typed, so its words have no tokens")
        return Framed(text, start, limit=limit)

    def _in_template(self, prompt: str) -> str:
        return str(
            self._pipeline.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=self.is_thinking,
            )
        )


class ZImagePrompts(_ChatPrompts):
    """Each text has as many columns as tokens."""

    repeats_later = True
    is_thinking = True

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        positive, negative = result
        return _both(positive, negative or None, *([len(each) for each in side or ()] for side in result))


class KleinPrompts(_ChatPrompts):
    """Padded, and the model looks at the padding too. The negative prompt is always empty."""

    has_own_calls = True
    is_thinking = False

    def encoded(self, result: Any) -> dict[Side, Encoded]:
        return {"positive": Encoded(result[0])}


PROMPT_KINDS: dict[str, type[_Kind]] = {
    "FluxTransformer2DModel": FluxPrompts,
    "Flux2Transformer2DModel": KleinPrompts,
    "ChromaTransformer2DModel": ChromaPrompts,
    "QwenImageTransformer2DModel": QwenPrompts,
    "SD3Transformer2DModel": Sd3Prompts,
    "Lumina2Transformer2DModel": LuminaPrompts,
    "ZImageTransformer2DModel": ZImagePrompts,
}
"""By the class of the pipeline's transformer."""


def model_of(pipeline: Any) -> nn.Module:
    """The model that a pipeline samples with.

    Raises:
        TraceError: it has none, or does not encode prompts in the open.
    """
    model = getattr(pipeline, "unet", None)
    model = getattr(pipeline, "transformer", None) if model is None else model
    if not isinstance(model, nn.Module) or not callable(getattr(pipeline, "encode_prompt", None)):
        raise TraceError(
            "expected a diffusers pipeline with a UNet or a transformer and `encode_prompt`, got "
            f"{type(pipeline).__name__}"
        )
    return model


def prompts_of(pipeline: Any) -> PromptKind:
    """How a pipeline encodes its prompts.

    Raises:
        TraceError: that is not known.
    """
    model = model_of(pipeline)
    if model is getattr(pipeline, "unet", None):
        return ClipPrompts(pipeline)
    names = [kind.__name__ for kind in type(model).__mro__]
    found = next((PROMPT_KINDS[name] for name in names if name in PROMPT_KINDS), None)
    if found is QwenPrompts and getattr(pipeline, "processor", None) is not None:
        found = QwenEditPrompts
    if found is None or (found is KleinPrompts and not hasattr(pipeline, "_get_qwen3_prompt_embeds")):
        raise TraceError(f"how {type(pipeline).__name__} encodes its prompts is not known, so no column has a word")
    return found(pipeline)  # type: ignore[return-value]


def as_list(prompt: str | Sequence[str]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else list(prompt)


def per_picture(items: Sequence[Any], pictures: int) -> list[Any]:
    """Each as often as there are pictures of it.

    Raises:
        ShapeError: the pictures cannot be shared out evenly.
    """
    if not items or pictures % len(items):
        raise ShapeError(f"expected as many pictures for each of {len(items)} prompts, got {pictures} in all")
    return [item for item in items for _ in range(pictures // len(items))]


def _both(
    positive: Any, negative: Any, lengths: list[int] | None = None, negative_lengths: list[int] | None = None
) -> dict[Side, Encoded]:
    found: dict[Side, Encoded] = {}
    if positive is not None:
        found["positive"] = Encoded(positive, lengths)
    if negative is not None:
        found["negative"] = Encoded(negative, negative_lengths)
    return found


def _lengths(mask: Tensor | None) -> list[int] | None:
    return None if mask is None else [int(length) for length in mask.sum(dim=1).tolist()]


def _clip_table(pipeline: Any, prompt: str, tokenizer: Any) -> PromptTable:
    convert = getattr(pipeline, "maybe_convert_prompt", None)
    return plain_table(prompt, tokenizer, convert(prompt, tokenizer) if convert else None)


def _t5_table(pipeline: Any, prompt: str, tokenizer: Any, given: Given) -> PromptTable:
    convert = getattr(pipeline, "maybe_convert_prompt", None)
    if convert is not None and convert(prompt, tokenizer) != prompt:
        raise PromptError("textual-inversion words of several vectors are known of CLIP alone, not of T5")
    return framed_table(prompt, tokenizer, Framed(prompt, limit=given.get("max_sequence_length", 512)))
