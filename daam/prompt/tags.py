"""Tags such as <lora:name:0.8>, which the WebUI takes out before it encodes a prompt. Knows no network."""

from __future__ import annotations

import re

from daam.prompt.source_text import SourceText
from daam.prompt.table import ExtraNetworkTag

_TAG = re.compile(r"<\w+:[^>]+>")


def take_out_tags(prompt: SourceText) -> tuple[SourceText, tuple[ExtraNetworkTag, ...]]:
    """The prompt without its tags, and the tags; blanks and commas around a tag stay, as in the WebUI."""
    kept: list[SourceText] = []
    tags: list[ExtraNetworkTag] = []
    position = 0
    # Nothing after the last ">" can match; without this end a row of "<a:<a:<a:" takes quadratic time.
    for match in _TAG.finditer(prompt.text, 0, prompt.text.rfind(">") + 1):
        kept.append(prompt.slice(position, match.start()))
        tags.append(ExtraNetworkTag(match.group(), prompt.span(match.start(), match.end())))
        position = match.end()
    kept.append(prompt.slice(position, len(prompt)))
    return SourceText.join(kept), tuple(tags)
