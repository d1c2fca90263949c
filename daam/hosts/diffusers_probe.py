"""Encodes words that are not in the prompt with a diffusers pipeline's own text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daam.hosts.diffusers_encode import TextEncoding
from daam.prompt import ClipTokenizer, parse_prompt
from daam.prompt.terms import Term
from daam.tracing.probe import Probe, make_probe


def probe_of(pipeline: Any, terms: Sequence[Term]) -> Probe:
    """The probe of some terms, each encoded alone.

    Raises:
        TermError: they hold no word.
        ModelError: the pipeline has no CLIP text encoder.
    """
    tokenizer = ClipTokenizer.from_transformers(pipeline.tokenizer or pipeline.tokenizer_2)
    encoding = TextEncoding(pipeline)
    texts = []
    for term in terms:
        table = parse_prompt(term.text, tokenizer, emphasis="None", extra_networks=False, negative=True)
        texts.append((table, encoding.encode(table.parts[0].schedule[0]).context[0]))
    return make_probe(texts)
