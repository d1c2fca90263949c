"""Token tables of the prompts that a pass really encodes, checked against the WebUI's own tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from daam.demo_model import TOKENIZER
from daam.errors import TraceError
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.prompt.joined import joined_tables
from daam.prompt.t5 import T5, in_t5_columns, with_t5_columns
from daam.prompt.terms import parse_terms
from daam.tracing.probe import Probe, make_probe
from daam.webui.hosts import EncodedPrompts, host


@dataclass(frozen=True)
class PassTables:
    """One pair of tables for each image of a batch."""

    positive: tuple[PromptTable, ...]
    negative: tuple[PromptTable, ...]

    def joined(self, later: PassTables) -> PassTables:
        """These tables with the parts of a later pass behind their own."""
        return PassTables(
            tuple(joined_tables(*pair) for pair in zip(self.positive, later.positive)),
            tuple(joined_tables(*pair) for pair in zip(self.negative, later.negative)),
        )


def pass_tables(prompts: EncodedPrompts) -> PassTables:
    """The tables of one pass.

    Raises:
        TraceError: the WebUI cuts a prompt into other tokens than ours.
        PromptError: a prompt asks for more than the limits of `daam.prompt` allow.
    """
    reader = _PromptReader(prompts)
    return PassTables(
        tuple(reader.read(*texts, negative=False) for texts in zip(prompts.positive, prompts.typed_positive)),
        tuple(reader.read(*texts, negative=True) for texts in zip(prompts.negative, prompts.typed_negative)),
    )


class _PromptReader:
    """Reads the prompts of one pass with the WebUI's settings of now; reads equal prompts once."""

    def __init__(self, prompts: EncodedPrompts) -> None:
        self._prompts = prompts
        self._emphasis = host().emphasis_mode()
        self._embeddings = host().embedding_vectors()
        self._t5 = {negative: host().t5(negative=negative) for negative in (False, True)}
        self._tables: dict[tuple[str, str, bool], PromptTable] = {}

    def read(self, encoded: str, typed: str, *, negative: bool) -> PromptTable:
        """The table of a text, with spans in what was typed where only tags were taken out of it."""
        key = (encoded, typed, negative)
        if key not in self._tables:
            table = self._parse(encoded, negative, tags=False)
            if typed != encoded:
                with_tags = self._parse(typed, negative, tags=True)
                if _texts(with_tags) == _texts(table):
                    table = with_tags
            self._tables[key] = _with_columns(table, self._t5[negative])
        return self._tables[key]

    def _parse(self, text: str, negative: bool, *, tags: bool) -> PromptTable:
        return parse_prompt(
            text,
            clip_tokenizer(),
            steps=self._prompts.steps,
            hires_steps=self._prompts.hires_steps,
            embeddings=self._embeddings,
            comma_padding=host().comma_padding(),
            emphasis=self._emphasis,
            negative=negative,
            use_old_scheduling=host().uses_old_scheduling(),
            extra_networks=tags,
        )


def _with_columns(table: PromptTable, t5: T5 | None) -> PromptTable:
    """The table in the columns of what really conditions the model; it was made with CLIP's."""
    if t5 is not None and not host().text_encoders():
        return in_t5_columns(table, t5)
    check_tokens(table)
    return table if t5 is None else with_t5_columns(table, t5)


def make_probe_of(terms: str) -> Probe | None:
    """The probe of comma-separated terms, each encoded alone by the loaded checkpoint; None when there are none.

    Raises:
        TermError: the terms cannot be read.
        TraceError: as for `pass_tables`.
    """
    texts = []
    for term in parse_terms(terms):
        table = parse_prompt(
            term.text, clip_tokenizer(), emphasis=host().emphasis_mode(), embeddings=host().embedding_vectors(),
            comma_padding=host().comma_padding(), negative=True, extra_networks=False,
        )  # fmt: skip
        texts.append((_with_columns(table, host().t5()), host().encode_context(term.text)))
    return make_probe(texts) if texts else None


def table_of(prompt: str) -> PromptTable:
    """The table of a typed prompt by the WebUI's settings of now. Raises as `pass_tables`."""
    return host().own_table(prompt) or parse_prompt(
        prompt, clip_tokenizer(), emphasis=host().emphasis_mode(), embeddings=host().embedding_vectors(),
        comma_padding=host().comma_padding(), use_old_scheduling=host().uses_old_scheduling(),
    )  # fmt: skip


def check_tokens(table: PromptTable) -> None:
    """Compares a table with the tokens that the WebUI makes for every encoder.

    Raises:
        TraceError: they differ, so that a column would be taken for another word.
    """
    encoders = host().text_encoders()
    if not encoders:
        raise TraceError("the checkpoint's text encoder does not cut prompts into chunks of CLIP tokens")
    for entry in {entry.text: entry for part in table.parts for entry in part.schedule}.values():
        ours = [list(chunk.tokens) for chunk in entry.chunks]
        for encoder in encoders:
            theirs = host().chunk_tokens(encoder, entry.text)
            if _without_padding(theirs) != _without_padding(ours):
                who = "more than one encoder disagrees" if len(encoders) > 1 else "the checkpoint's encoder disagrees"
                raise TraceError(
                    f"{who} on where the words are: {type(encoder).__name__} cuts the prompt into other tokens "
                    "than CLIP's tokenizer does; leave out characters such as &amp; or use another checkpoint"
                )


def _without_padding(chunks: Sequence[Sequence[int]]) -> list[list[int]]:
    """Chunks up to their first end token, whose number encoders spell alike; what pads them differs."""
    end = clip_tokenizer().end_token
    return [list(chunk[: chunk.index(end)]) if end in chunk else list(chunk) for chunk in chunks]


def _texts(table: PromptTable) -> list[list[str]]:
    return [[entry.text for entry in part.schedule] for part in table.parts]


def clip_tokenizer() -> ClipTokenizer:
    """CLIP's tokenizer, cleaning texts as the host does; every checkpoint of SD 1, 2 and XL has the same vocabulary."""
    return _clip_tokenizer().cleaning_as(host().tokenizer())


@lru_cache(maxsize=1)
def _clip_tokenizer() -> ClipTokenizer:
    return ClipTokenizer.from_folder(TOKENIZER)
