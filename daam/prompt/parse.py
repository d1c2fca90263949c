"""The way from a typed prompt to its token table, for AUTOMATIC1111's WebUI 1.10 and what follows its rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from daam.errors import SettingError
from daam.prompt.and_parts import split_parts
from daam.prompt.embeddings import EmbeddingWords
from daam.prompt.encode import Emphasis, EncodedText, TextEncoding
from daam.prompt.limits import MAX_CHARACTERS, MAX_SCHEDULED_CHARACTERS, MAX_STEPS, check_limit
from daam.prompt.schedule import StepRule, read_schedule
from daam.prompt.source_text import SourceText
from daam.prompt.table import PromptPart, PromptTable, ScheduleEntry
from daam.prompt.tags import take_out_tags
from daam.prompt.tokenizer import ClipTokenizer


def parse_prompt(
    prompt: str,
    tokenizer: ClipTokenizer | Any,
    *,
    steps: int = 20,
    hires_steps: int | None = None,
    embeddings: Mapping[str, int] | None = None,
    comma_padding: int = 20,
    emphasis: Emphasis = "Original",
    negative: bool = False,
    use_old_scheduling: bool = False,
    extra_networks: bool = True,
) -> PromptTable:
    """Everything the WebUI makes of a prompt, and where each piece of it was typed.

    >>> table = daam.parse_prompt("a (red:1.2) [circle:square:0.5]", tokenizer, steps=10)
    >>> [(entry.first_step, entry.end_at_step, entry.text) for entry in table.parts[0].schedule]
    [(1, 5, 'a (red:1.2) circle'), (6, 10, 'a (red:1.2) square')]
    >>> columns = table.parts[0].schedule[0].columns
    >>> [(column.column, column.piece, column.weight, column.span) for column in columns[1:4]]
    [(1, 'a', 1.0, (0, 1)), (2, 'red', 1.2, (3, 6)), (3, 'circle', 1.0, (13, 19))]

    Args:
        prompt: as typed; every span counts in it.
        tokenizer: ours, or a CLIPTokenizer of transformers, as pipelines have it.
        steps: steps of the first pass, as the sampler counts them.
        hires_steps: steps of the hires pass, to get the table of that pass; None for the first pass.
        embeddings: number of vectors of each textual-inversion embedding, by name.
        comma_padding: the setting "Prompt word wrap length limit".
        emphasis: the setting "Emphasis mode".
        negative: the host does not look for AND in a negative prompt.
        use_old_scheduling: the compatibility setting "Use old prompt editing timelines".
        extra_networks: take tags such as <lora:name:0.8> out, as the host does before it encodes.

    Raises:
        PromptError: a weight or step is no finite number, or the prompt asks for more than the limits allow.
        SettingError: another argument has a value that does not fit.
    """
    _check_settings(steps, hires_steps, comma_padding, emphasis)
    check_limit(len(prompt), MAX_CHARACTERS, "characters")
    if not isinstance(tokenizer, ClipTokenizer):
        tokenizer = ClipTokenizer.from_transformers(tokenizer)
    encoding = TextEncoding(tokenizer, EmbeddingWords(embeddings or {}, tokenizer), comma_padding, emphasis)
    rule = StepRule(steps, hires_steps, use_old_scheduling)
    text = SourceText.typed(prompt)
    text, tags = take_out_tags(text) if extra_networks else (text, ())
    parts = [(text, 1.0)] if negative else split_parts(text)
    builder = _PartBuilder(encoding, rule)
    return PromptTable(prompt, tuple(builder.build(part, weight) for part, weight in parts), tags)


class _PartBuilder:
    """Builds the AND parts of one prompt; encodes a text once that several steps share."""

    def __init__(self, encoding: TextEncoding, rule: StepRule) -> None:
        self._encoding = encoding
        self._rule = rule
        self._encoded: dict[tuple[str, tuple[int, ...]], EncodedText] = {}
        self._characters = 0
        self._chunks = 0

    def build(self, part: SourceText, weight: float) -> PromptPart:
        entries = []
        first = 1
        for end, text in read_schedule(part, self._rule):
            encoded = self._encode(text)
            entries.append(
                ScheduleEntry(
                    first_step=first,
                    end_at_step=end,
                    text=text.text,
                    token_count=encoded.token_count,
                    attention=encoded.attention,
                    chunks=encoded.chunks,
                    columns=encoded.columns,
                )
            )
            first = end + 1
        return PromptPart(part.text, weight, tuple(entries))

    def _encode(self, text: SourceText) -> EncodedText:
        key = (text.text, tuple(text.origin))
        if key not in self._encoded:
            self._characters += len(text)
            check_limit(self._characters, MAX_SCHEDULED_CHARACTERS, "characters over all texts of its schedule")
            self._encoded[key] = self._encoding.encode(text, self._chunks)
            self._chunks += len(self._encoded[key].chunks)
        return self._encoded[key]


def _check_settings(steps: int, hires_steps: int | None, comma_padding: int, emphasis: str) -> None:
    for name, value in (("steps", steps), ("hires_steps", hires_steps)):
        if value is not None and not 1 <= value <= MAX_STEPS:
            raise SettingError(f"{name}: expected a number from 1 to {MAX_STEPS}, got {value}")
    if comma_padding < 0:
        raise SettingError(f"comma_padding: expected 0 or more tokens, got {comma_padding}")
    if emphasis not in get_args(Emphasis):
        raise SettingError(f"emphasis: expected one of {', '.join(get_args(Emphasis))}, got {emphasis!r}")
