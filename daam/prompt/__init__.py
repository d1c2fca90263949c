"""From a typed prompt to its token table. Knows the rules of AUTOMATIC1111's WebUI, but no model and no picture."""

from daam.prompt.data import prompt_to_data
from daam.prompt.encode import Emphasis
from daam.prompt.parse import parse_prompt
from daam.prompt.table import (
    Chunk,
    EmbeddingFix,
    ExtraNetworkTag,
    Kind,
    PromptPart,
    PromptTable,
    ScheduleEntry,
    Span,
    TokenColumn,
)
from daam.prompt.tokenizer import ClipTokenizer, TokenPiece

__all__ = [
    "Chunk",
    "ClipTokenizer",
    "EmbeddingFix",
    "Emphasis",
    "ExtraNetworkTag",
    "Kind",
    "PromptPart",
    "PromptTable",
    "ScheduleEntry",
    "Span",
    "TokenColumn",
    "TokenPiece",
    "parse_prompt",
    "prompt_to_data",
]
