"""What pipelines are called with that read a prompt as it is: those with joint attention.

Which argument guides, and whether there is a negative prompt, is seen from the pipeline's own signature.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daam.errors import SettingError
from daam.hosts.diffusers_models import DEFAULT_SAMPLER

if TYPE_CHECKING:
    from daam.hosts.diffusers_generate import GenerationSettings

SYNTAX = re.compile(r"\([^()]*:\s*[\d.]+\s*\)|\[[^\[\]]*[:|][^\[\]]*\]|\b(?:BREAK|AND)\b|<\w+:[^<>]*>")
"""What the WebUI would read as a weight, a schedule, a chunk, a part or an extra network."""
GUIDANCE = 4.0
"""By a negative prompt, of Flux, which has none unless one is given: what Qwen-Image's pipeline takes by itself."""


def plain_arguments(pipeline: Any, settings: GenerationSettings) -> dict[str, Any]:
    """Prompts and guidance, as the pipeline is called with them.

    Raises:
        SettingError: the pipeline has no such thing.
    """
    name, known = type(pipeline).__name__, inspect.signature(type(pipeline).__call__).parameters
    if settings.sampler != DEFAULT_SAMPLER:
        own = type(pipeline.scheduler).__name__
        raise SettingError(f"sampler: {name} samples with its own {own}; leave the sampler out")
    if settings.negative and "negative_prompt" not in known:
        raise SettingError(f"negative: {name} takes no negative prompt; leave it out")
    guide = _guide(known, has_negative=bool(settings.negative))
    usual = known[guide].default
    if guide == "true_cfg_scale" and usual == 1:  # so the negative prompt would go unread
        usual = GUIDANCE
    arguments = {
        "prompt": settings.prompt,
        guide: usual if settings.guidance_scale is None else settings.guidance_scale,
    }
    if settings.negative or guide == "true_cfg_scale":
        arguments["negative_prompt"] = settings.negative or " "  # Qwen-Image guides only where there is one
    return arguments


def _guide(known: Mapping[str, inspect.Parameter], *, has_negative: bool) -> str:
    """The argument that says how strongly the prompt guides, against the negative one where there is one.

    Where there are two, `guidance_scale` is a number that the model itself reads: Flux's, and by default not
    Qwen-Image's.
    """
    is_apart = "true_cfg_scale" in known and (has_negative or known["guidance_scale"].default is None)
    return "true_cfg_scale" if is_apart else "guidance_scale"


def plain_remarks(pipeline: Any, settings: GenerationSettings) -> list[str]:
    """That what looks like the WebUI's syntax is none here, as a sentence."""
    found = [match[0] for text in (settings.prompt, settings.negative) for match in SYNTAX.finditer(text)]
    name = type(pipeline).__name__
    return [f"{name} reads a prompt as it is: {', '.join(found)} is text to it, no syntax"] if found else []
