"""Listens to the prompts that a diffusers pipeline encodes. Knows no token and no map."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

Listener = Callable[[dict[str, Any]], None]
"""Gets the arguments of a call of `encode_prompt` by name."""


def listen_to_prompts(pipeline: Any, listener: Listener) -> Callable[[], None]:
    """Calls the listener before each `encode_prompt`: the one place that all these pipelines send their prompts to.

    Several listeners share one wrapper, so that they may leave in any order.

    Returns:
        What takes the listener away; the last one puts the pipeline's own method back.
    """
    before = vars(pipeline).get("encode_prompt")
    listeners = getattr(before, "daam_listeners", None)
    if listeners is None:
        listeners = []
        pipeline.encode_prompt = _wrap_encode_prompt(pipeline.encode_prompt, listeners)
    wrapper = pipeline.encode_prompt
    listeners.append(listener)

    def leave() -> None:
        listeners.remove(listener)
        if not listeners and vars(pipeline).get("encode_prompt") is wrapper:
            del pipeline.encode_prompt
            if wrapper.__wrapped__ != pipeline.encode_prompt:  # it was an attribute of this one pipeline
                pipeline.encode_prompt = wrapper.__wrapped__

    return leave


def _wrap_encode_prompt(original: Callable[..., Any], listeners: list[Listener]) -> Any:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def encode_prompt(*arguments: Any, **named: Any) -> Any:
        for listener in listeners:
            listener(signature.bind(*arguments, **named).arguments)
        return original(*arguments, **named)

    encode_prompt.daam_listeners = listeners  # type: ignore[attr-defined]
    return encode_prompt
