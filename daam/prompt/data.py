"""A prompt table as plain data, in the form in which the real WebUI's answers were recorded."""

from __future__ import annotations

from typing import Any

from daam.prompt.table import Chunk, PromptPart, PromptTable, ScheduleEntry, TokenColumn


def prompt_to_data(table: PromptTable) -> dict[str, Any]:
    """Lists, dicts, strings and numbers only, ready for JSON."""
    return {"prompt": table.prompt, "parts": [_part_to_data(part) for part in table.parts]}


def _part_to_data(part: PromptPart) -> dict[str, Any]:
    return {"text": part.text, "weight": part.weight, "schedule": [_entry_to_data(entry) for entry in part.schedule]}


def _entry_to_data(entry: ScheduleEntry) -> dict[str, Any]:
    return {
        "end_at_step": entry.end_at_step,
        "text": entry.text,
        "token_count": entry.token_count,
        "attention": [[text, weight] for text, weight in entry.attention],
        "chunks": [_chunk_to_data(chunk) for chunk in entry.chunks],
        "columns": [_column_to_data(column) for column in entry.columns],
    }


def _chunk_to_data(chunk: Chunk) -> dict[str, Any]:
    return {
        "tokens": list(chunk.tokens),
        "multipliers": list(chunk.multipliers),
        "fixes": [[fix.offset, fix.name, fix.vectors] for fix in chunk.fixes],
    }


def _column_to_data(column: TokenColumn) -> dict[str, Any]:
    return {
        "column": column.column,
        "token": column.token,
        "piece": column.piece,
        "span": None if column.span is None else list(column.span),
        "weight": column.weight,
        "chunk": column.chunk,
        "kind": column.kind,
    }
