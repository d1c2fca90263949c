"""Encodes words that are not in the prompt with a diffusers pipeline's own text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daam.hosts.diffusers_prompts import prompts_of
from daam.prompt.terms import Term
from daam.tracing.probe import Probe, make_probe


def probe_of(pipeline: Any, terms: Sequence[Term]) -> Probe:
    """The probe of some terms, each encoded alone.

    Raises:
        TermError: they hold no word.
        ModelError: the pipeline has no text encoder that is known.
        TraceError: it encodes no text by itself.
    """
    kind = prompts_of(pipeline)
    return make_probe([kind.alone(term.text) for term in terms])
