"""Turns one text of a schedule into runs, chunks and columns. Knows no steps and no AND."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from daam.errors import PromptError
from daam.prompt.chunks import ChunkPacker, Slot
from daam.prompt.embeddings import EmbeddingWords
from daam.prompt.emphasis import Run, read_emphasis
from daam.prompt.source_text import SourceText
from daam.prompt.table import Chunk, TokenColumn
from daam.prompt.tokenizer import ClipTokenizer

Emphasis = Literal["None", "Ignore", "Original", "No norm"]


@dataclass(frozen=True)
class EncodedText:
    """What the text encoder is given for one text; the fields are those of `ScheduleEntry`."""

    attention: tuple[tuple[str, float], ...]
    token_count: int
    chunks: tuple[Chunk, ...]
    columns: tuple[TokenColumn, ...]


@dataclass(frozen=True)
class TextEncoding:
    """The settings that turn a text into chunks."""

    tokenizer: ClipTokenizer
    embeddings: EmbeddingWords
    comma_padding: int
    emphasis: Emphasis

    def encode(self, text: SourceText, known_chunks: int = 0) -> EncodedText:
        """The chunks and columns of a text; `known_chunks` are those of the prompt's other texts.

        "Ignore", "Original" and "No norm" give the same multipliers; they differ in what the host does with them.

        Raises:
            PromptError: a weight is no number, an embedding does not fit into a chunk, or there are too many chunks.
        """
        attention, runs = self._read_runs(text)
        packer = ChunkPacker(self.tokenizer, self.comma_padding, known_chunks)
        words = 0
        for run in runs:
            if run.is_break:
                packer.start_chunk()
            else:
                words = self._add_run(packer, run, words)
        chunks, columns = packer.finish()
        return EncodedText(tuple((run.text.text, run.weight) for run in attention), packer.token_count, chunks, columns)

    def _read_runs(self, text: SourceText) -> tuple[list[Run], list[Run]]:
        """The runs to show and the runs to encode; they differ where emphasis is off."""
        literal = [Run(text, 1.0)]
        if self.emphasis != "None":
            runs = read_emphasis(text)
            return runs, runs
        try:
            return read_emphasis(text), literal
        except PromptError:  # a wrong weight does no harm here: brackets are text
            return literal, literal

    def _add_run(self, packer: ChunkPacker, run: Run, words: int) -> int:
        """Tokenise a run and pack it; `words` counts the words before it. Returns the count after it."""
        text = run.text.text
        pieces = self.tokenizer.encode(text)
        tokens = [piece.token for piece in pieces]
        position = 0
        while position < len(pieces):
            packer.make_room(tokens[position])
            embedding = self.embeddings.find(tokens, position)
            last = position + (len(embedding.tokens) if embedding else 1) - 1
            start, end = pieces[position].start, pieces[last].end
            slot = Slot(
                token=0 if embedding else tokens[position],
                weight=run.weight,
                piece=text[start:end],
                span=run.text.span(start, end),
                word=words + pieces[position].word,
            )
            if embedding:
                packer.add_embedding(embedding, slot)
            else:
                packer.add_token(slot)
            position = last + 1
        return words + (pieces[-1].word + 1 if pieces else 0)
