"""Joins the token tables of two passes over one picture, as of hires fix, into one. Knows no host."""

from __future__ import annotations

from dataclasses import replace

from daam.prompt.table import PromptTable, ScheduleEntry


def joined_tables(first: PromptTable, later: PromptTable) -> PromptTable:
    """Both tables as one; where the prompts differ, the later one stands in a line of its own behind the first."""
    later = replace(later, parts=tuple(replace(part, sampling_pass=1) for part in later.parts))
    if later.prompt == first.prompt:
        return replace(first, parts=first.parts + later.parts)
    later = _moved(later, len(first.prompt) + 1)
    prompt = f"{first.prompt}\n{later.prompt}"
    return PromptTable(prompt, first.parts + later.parts, first.tags + later.tags)


def _moved(table: PromptTable, by: int) -> PromptTable:
    """The table with every span moved."""

    def moved_entry(entry: ScheduleEntry) -> ScheduleEntry:
        columns = tuple(
            column if column.span is None else replace(column, span=(column.span[0] + by, column.span[1] + by))
            for column in entry.columns
        )
        return replace(entry, columns=columns)

    parts = tuple(replace(part, schedule=tuple(map(moved_entry, part.schedule))) for part in table.parts)
    tags = tuple(replace(tag, span=(tag.span[0] + by, tag.span[1] + by)) for tag in table.tags)
    return replace(table, parts=parts, tags=tags)
