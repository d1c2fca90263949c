"""How SD.Next reads a prompt: by its own parser, which has four ways, before pipelines of CLIP; else by the pipeline.

The parser's fragments are asked for, not made again; only where they were typed is found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from modules import prompt_parser, prompt_parser_diffusers, shared

from daam.errors import PromptError, TraceError
from daam.hosts.diffusers_prompts import ClipPrompts, model_of, prompts_of
from daam.hosts.diffusers_tokens import ALWAYS
from daam.prompt import PromptTable
from daam.prompt.schedule import StepRule, read_schedule
from daam.prompt.source_text import SourceText
from daam.prompt.table import PromptPart, ScheduleEntry
from daam.prompt.tags import take_out_tags
from daam.webui.hosts.sdnext_columns import Chunking, Columns, Fragment

PARSERS = ("native", "a1111", "compel", "xhinker")
"""Values of the setting "Prompt attention parser"; "fixed" leaves the prompt to the pipeline."""
OTHER_ENCODERS = ("TE2:", "TE3:", "TE4:")
"""What stands behind these in a prompt is for the further text encoders alone."""


def clip_table(
    pipeline: Any, typed: str, encoded: str, steps: int, parser: str, *, negative: bool, length: int | None = None
) -> PromptTable:
    """The table of a prompt that SD.Next's parser encodes with CLIP.

    Args:
        typed: with the tags of extra networks, which are taken out before it is encoded.
        length: number of columns that it was encoded to; None where it was not.

    Raises:
        TraceError, PromptError: what was encoded cannot be found in what was typed.
    """
    if parser not in PARSERS:
        raise TraceError(f"SD.Next's prompt parser {parser!r} is not known; choose one of {', '.join(PARSERS)}")
    text, tags = take_out_tags(SourceText.typed(typed))
    if text.text != encoded:
        typed, text, tags = encoded, SourceText.typed(encoded), ()
    tokenizer = getattr(pipeline, "tokenizer", None) or pipeline.tokenizer_2
    splits = parser != "xhinker"
    chunks = _chunking(pipeline, tokenizer) if splits else None
    columns = Columns(tokenizer, splits_at_break=splits and not negative, chunks=chunks)
    entries: list[ScheduleEntry] = []
    for end, part in _schedule(text, steps):
        own = _first_encoders(part)
        fragments = _fragments(pipeline, own.text)
        first = entries[-1].end_at_step + 1 if entries else 1
        entries.append(columns.entry(own, fragments, first, end, length))
    return PromptTable(typed, (PromptPart(text.text, 1.0, tuple(entries)),), tags)


def _chunking(pipeline: Any, tokenizer: Any) -> Chunking:
    """As compel cuts long texts: at the end of a sentence, a phrase or a word. Nothing is encoded."""
    encoder = getattr(pipeline, "text_encoder", None) or pipeline.text_encoder_2
    provider = prompt_parser_diffusers.EmbeddingsProvider(tokenizer, encoder, truncate=False, device="cpu")

    def chunks(fragments: Sequence[Fragment]) -> list[list[int]]:
        texts, weights = [each.text for each in fragments], [each.weight for each in fragments]
        tokens = provider.get_token_ids_and_expand_weights(texts, weights, "cpu")[0].tolist()
        size = provider.max_token_count
        return [tokens[place : place + size] for place in range(0, len(tokens), size)]

    return chunks


def further_texts(prompt: str) -> str:
    """What a prompt has for its further text encoders alone."""
    starts = [prompt.index(mark) for mark in OTHER_ENCODERS if mark in prompt]
    return prompt[min(starts) :] if starts else ""


def typed_table(prompt: str) -> PromptTable | None:
    """The table of a typed prompt with the loaded model; None where it says nothing of how it reads one."""
    pipeline = shared.sd_model
    try:
        model_of(pipeline)
        kind = prompts_of(pipeline)
    except TraceError:
        return None
    text, _ = take_out_tags(SourceText.typed(prompt))
    parser = shared.opts.prompt_attention
    if isinstance(kind, ClipPrompts) and parser in PARSERS:
        return clip_table(pipeline, prompt, text.text, 20, parser, negative=False)
    return kind.table(text.text, {}, "positive")


def _schedule(text: SourceText, steps: int) -> list[tuple[int, SourceText]]:
    """Raises TraceError where SD.Next does not read the prompt's schedule as AUTOMATIC1111's WebUI did before 1.6."""
    ours = read_schedule(text, StepRule(steps, use_old_scheduling=True))
    (theirs,) = prompt_parser.get_learned_conditioning_prompt_schedules([text.text], steps)
    found = [(int(end), str(at)) for end, at in theirs if end >= 1]
    if [(end, at.text) for end, at in ours] != found:
        raise TraceError("SD.Next reads the prompt's editing or alternation in a way that is not known")
    return ours if len(ours) > 1 else [(ALWAYS, ours[0][1])]


def _first_encoders(text: SourceText) -> SourceText:
    """What the first text encoder gets of a text, without blanks around it, as SD.Next splits it."""
    end = len(text) - len(further_texts(text.text))
    own = text.text[:end]
    start = len(own) - len(own.lstrip())
    return text.slice(start, max(start, len(own.rstrip())))


def _fragments(pipeline: Any, text: str) -> list[Fragment]:
    with _no_trace_in_infotexts(pipeline):
        texts, weights = prompt_parser_diffusers.get_prompts_with_weights(pipeline, text)
    if not isinstance(texts, (tuple, list)) or len(texts) != len(weights):
        raise PromptError("SD.Next's prompt parser made no fragments of the prompt")
    return [Fragment(str(part), float(weight)) for part, weight in zip(texts, weights)]


@contextmanager
def _no_trace_in_infotexts(pipeline: Any) -> Iterator[None]:
    """The parser keeps which embeddings a prompt used, for the next picture's infotext."""
    book = getattr(pipeline, "embedding_db", None)
    before = list(book.embeddings_used) if book is not None else []
    try:
        yield
    finally:
        if book is not None:
            book.embeddings_used = before
