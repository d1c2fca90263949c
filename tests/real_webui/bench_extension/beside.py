"""Words beside the prompt that are the prompt's own, in the network of a running WebUI."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

ModelCall = tuple[tuple[Any, ...], dict[str, Any]]


def keep_first_call(model: torch.nn.Module) -> list[ModelCall]:
    """The list that gets what the model is called with next, once."""
    kept: list[ModelCall] = []

    def keep(_model: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        hook.remove()
        kept.append((arguments, dict(named)))

    hook = model.register_forward_pre_hook(keep, with_kwargs=True)
    return kept


def error_of_own_words(model: torch.nn.Module, call: ModelCall) -> float:
    """The call again, with every column of its first text as a word beside it too.

    Returns:
        How far what those words get is from what the text's own columns get, in the space of what attention gives,
        as a share of the largest value; 1 where a block is missing, or the model gives something else than alone.
    """
    from daam.tracing.capture import Capture
    from daam.tracing.plan import TextKey, TracedText
    from daam.tracing.probe import Probe

    class EveryColumn(Probe):
        @property
        def words(self) -> tuple[tuple[int, ...], ...]:
            return tuple((column,) for column in self.columns)

    arguments, named = call
    context = named["context"]
    columns = tuple(range(context.shape[1]))
    text = TracedText(TextKey(0, "positive"), columns, output_words=tuple((column,) for column in columns))
    probe = EveryColumn(context[0], None, columns)  # type: ignore[arg-type]
    capture = Capture(model, lambda call: [text] + [None] * (call.rows - 1), probe=probe, keep_outputs=True)
    with torch.inference_mode():
        alone = model(*arguments, **named)
        with ExitStack() as stack:
            capture.install(stack)
            beside = model(*arguments, **named)
    found = capture.texts(0)
    own, prompt = found[TextKey(0, "probe")].outputs, found[TextKey(0, "positive")].outputs
    kind = "double_blocks" if hasattr(model, "double_blocks") else "transformer_blocks"
    doubles = [f"{kind}.{number}" for number in range(len(getattr(model, kind)))]
    if list(own) != doubles or not torch.equal(alone, beside) or capture.fault is not None:
        return 1.0
    return max(float((own[name] - prompt[name]).abs().max() / prompt[name].max()) for name in doubles)
