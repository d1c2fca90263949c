"""Words that are not in the prompt, as a text of their own beside it, where text and image have a stream each.

After ConceptAttention (Helbling et al., ICML 2025): in each block the words attend to the picture as it is and to each
other, and go on to the next block, while the picture knows nothing of them. So each such block runs once more, before
the model runs it, with these words in the place of the prompt; of what it gives, the picture's part is thrown away.
Other watchers of the block may see both runs: the last one of a call counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from daam.errors import TraceError
from daam.tracing.families.base import Words
from daam.tracing.families.joint_model import TextStream
from daam.tracing.families.seam import AttentionCall, Binding, Watch


class Beside(NamedTuple):
    """What the words had in one block. Attributes: key, output: [row, token, head, channel]."""

    key: Tensor
    output: Tensor


class SecondText:
    """One text that runs beside the prompt's, from block to block of each call."""

    def __init__(self, stream: TextStream, words: Words):
        self._stream, self._words = stream, words
        self._names = {block.module: block.name for block in stream.blocks}
        self._signatures = {block.module: inspect.signature(block.module.forward) for block in stream.blocks}
        self._state: Tensor | None = None

    def begin_call(self) -> None:
        self._state = None

    def run(
        self,
        block: nn.Module,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        bindings: Sequence[Binding],
        first_column: int,
    ) -> Beside | None:
        """Runs a block with the words in the place of the prompt; None where it has no stream for a text.

        Args:
            arguments, named: what the model calls it with.
            first_column: where the text's column 0 stands along the keys.

        Raises:
            TraceError: the block did not attend to picture and words together.
        """
        if block not in self._names:
            return None
        given = dict(self._signatures[block].bind(*arguments, **named).arguments)
        like, tokens = given[self._stream.picture], len(self._words.vectors)
        if self._state is None:
            text = self._stream.embedded(self._words.vectors.to(like))
            self._state = text.expand(len(like), -1, -1)
        positions = like.shape[1] + tokens
        seen: list[AttentionCall] = []

        def look(
            binding: Binding, given_arguments: tuple[Any, ...], given_names: Mapping[str, Any], result: Any
        ) -> None:
            call = binding.read(given_arguments, given_names, result)
            if call.query.shape[1] == positions and not seen:  # a second attention is the picture's to itself
                seen.append(call)

        watch = Watch(look)
        watch.begin(block, bindings)
        try:
            found = block.forward(**self._stream.arguments(given, self._state, self._words.places))
        finally:
            watch.end()
        if not seen:
            raise TraceError(f"{self._names[block]}: it was not seen to attend to picture and words together")
        self._state = self._stream.text_of(found)
        key, output = (part[:, first_column : first_column + tokens] for part in (seen[0].key, seen[0].result))
        return Beside(key, output)
