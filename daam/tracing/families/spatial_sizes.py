"""The spatial size of each transformer of a UNet in the call that runs. Its layers see positions in a row only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from threading import get_ident
from typing import Any

from torch import nn

from daam.tracing.families.base import Sight, Watch, first_input

Size = tuple[int, int]
"""(height, width)"""


class SpatialSizes:
    """Sees it in the transformer's input, [batch, channel, height, width].

    A hook takes time in each call, even one that does nothing. So of transformers that were seen to have one size only
    the first to run stays watched. While the latents are of one size the others have the size that they had; where the
    first one's changes (deep shrink), theirs is the one among the call's sizes that has as many positions.

    Attributes: seen: of the transformers that were watched and ran in this call, in their order.
    """

    def __init__(self, spatials: Iterable[nn.Module]):
        self._spatials = tuple(dict.fromkeys(spatials))
        self._latent_size: Size | None = None
        self._hooks: dict[nn.Module, Any] = {}
        self._known: dict[nn.Module, Size] = {}
        self._first: dict[nn.Module, nn.Module] = {}
        self.seen: dict[nn.Module, Size] = {}

    def install(self, stack: ExitStack, sight: Sight) -> None:
        """Sets the hooks; the stack removes them."""
        self._sight = sight
        self._watch_all()
        stack.callback(self._unwatch_all)

    def begin_call(self, latent_size: Size) -> None:
        """Forgets the call before, save for what it told of the next ones."""
        if latent_size != self._latent_size:
            self._latent_size = latent_size
            self._watch_all()
        elif self._sight.see_self is None and len(self._known) < len(self._spatials):
            self._learn()
        self.seen.clear()

    def of(self, spatial: nn.Module, positions: int) -> Size | None:
        """A transformer's in this call; None where it did not run.

        Args: positions: of a layer in it.
        """
        seen, first = self.seen.get(spatial), self._first.get(spatial)
        if seen is not None or first is None:
            return seen
        known = self._known[spatial]
        if self.seen.get(first, known) == known:
            return known
        return next((size for size in self.seen.values() if size[0] * size[1] == positions), known)

    def _learn(self) -> None:
        """Which transformers have one size; only the first of them is watched from now on."""
        firsts: dict[Size, nn.Module] = {}
        for spatial, size in self.seen.items():
            first = firsts.setdefault(size, spatial)
            if spatial in self._hooks and spatial not in self._known:
                self._known[spatial] = size
                if first is not spatial:
                    self._first[spatial] = first
                    self._hooks.pop(spatial).remove()

    def _watch_all(self) -> None:
        self._known.clear()
        self._first.clear()
        for spatial in self._spatials:
            if spatial not in self._hooks:
                hook = functools.partial(_see_size, self._sight.watch, self.seen, self._sight.guard(self._see))
                self._hooks[spatial] = spatial.register_forward_pre_hook(hook, with_kwargs=True)

    def _unwatch_all(self) -> None:
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()
        self.seen.clear()
        self._latent_size = None

    def _see(self, spatial: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        height, width = first_input(arguments, named).shape[-2:]
        self.seen[spatial] = (height, width)


def _see_size(
    watch: Watch,
    seen: dict[nn.Module, Size],
    guarded: Callable[..., None],
    spatial: nn.Module,
    arguments: tuple[Any, ...],
    named: dict[str, Any] | None = None,
) -> None:
    """Without the guard, which takes longer than this, as long as the input is what it ought to be.

    Args: named: torch leaves it out where the hook is removed while another thread runs the transformer.
    """
    if not watch.is_on or (watch.thread is not None and watch.thread != get_ident()):
        return
    try:
        _, _, height, width = arguments[0].shape
        seen[spatial] = (height, width)
    except (IndexError, AttributeError, ValueError):
        guarded(spatial, arguments, named or {})
