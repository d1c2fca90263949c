"""The one function that attention goes through, seen while a block runs. Knows no model: a `Binding` says where it is.

Hooks on projections would see the query before its norm and its rotary position; what reaches the attention function is
what the model attends with. While a block runs, the name under which the block's module calls that function stands for
a wrapper that calls it and lets the watchers look; then the name is what it was. Nothing is computed twice, and the
model gets the function's own result.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn


class AttentionCall(NamedTuple):
    """What reached the attention function, and what it gave: the model's own tensors, or views of them.

    Attributes:
        query, key, value: [batch, position, head, channel], after everything that the model does to them. Keys and
            values may have fewer heads, each of which serves several of the query's.
        mask: [batch or 1, head or 1, position or 1, token]; where boolean, False hides a token, else it is added to
            the scores; None where there is none.
        scale: multiplies the scores; None where it is channel ** -0.5.
        result: [batch, position, head, channel].
        refusal: why the scores cannot be those of a softmax of all this, as a sentence; None where they are.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scale: float | None
    result: Tensor
    refusal: str | None = None


class Binding(NamedTuple):
    """A name under which blocks call their attention function.

    Attributes:
        owner: the module or class that has it as an attribute.
        read: makes a call of it from the arguments, the named arguments and the result.
    """

    owner: Any
    name: str
    read: Callable[[tuple[Any, ...], Mapping[str, Any], Any], AttentionCall]


Look = Callable[["Binding", tuple[Any, ...], Mapping[str, Any], Any], None]
"""Gets a call of the binding's function: arguments, named arguments, result. Must not raise."""

_LOCK = threading.Lock()  # guards the exchange of names, which threads share


class Watch:
    """Lets one watcher look at what a block attends with, in the thread that runs the block.

    Attention functions that are called by a watched one, or by a block within the block, are not looked at again.
    """

    def __init__(self, look: Look):
        self._look = look
        self._running: dict[int, _Running] = {}
        self._spare: dict[tuple[int, str], _Wrapper] = {}

    def begin(self, block: nn.Module, bindings: Sequence[Binding]) -> None:
        """To be called before a block runs; within a watched block nothing changes."""
        thread = threading.get_ident()
        if thread not in self._running:
            running = self._running[thread] = _Running(block)
            for binding in bindings:
                running.wrappers.append(self._enter(binding, thread))

    def _enter(self, binding: Binding, thread: int) -> _Wrapper:
        """Its function is wrapped, unless it is already; wrappers that were taken off are put on again."""
        place = (id(binding.owner), binding.name)
        with _LOCK:
            wrapper = getattr(binding.owner, binding.name)
            if not isinstance(wrapper, _Wrapper):
                spare = self._spare.get(place)
                wrapper = spare if spare is not None and spare.original is wrapper else _Wrapper(*binding[:2])
                wrapper.put_on()
                self._spare[place] = wrapper
            wrapper.join(thread, self, binding)
            return wrapper

    def end(self, block: nn.Module | None = None) -> None:
        """To be called after the block, whatever happened. Without a block: whatever runs in this thread."""
        running = self._running.get(threading.get_ident())
        if running is not None and (block is None or block is running.block):
            self._leave(threading.get_ident())

    def leave(self) -> None:
        """Looks at nothing any more, in any thread."""
        for thread in list(self._running):
            self._leave(thread)

    def _leave(self, thread: int) -> None:
        running = self._running.pop(thread, None)
        for wrapper in () if running is None else running.wrappers:
            wrapper.leave(thread, self)

    def enter_call(self) -> bool:
        """Whether a call is to be looked at: not where it comes from within another one."""
        running = self._running.get(threading.get_ident())
        if running is None or running.is_attending:
            return False
        running.is_attending = True
        return True

    def leave_call(self) -> None:
        running = self._running.get(threading.get_ident())
        if running is not None:
            running.is_attending = False

    def see(self, binding: Binding, arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
        self._look(binding, arguments, named, result)


class _Running:
    """A block that runs. Attributes: is_attending: a call of a watched function has not come back yet."""

    def __init__(self, block: nn.Module):
        self.block = block
        self.is_attending = False
        self.wrappers: list[_Wrapper] = []


class _Wrapper:
    """Stands for an attention function in its owner as long as some watch, in some thread, has a block running."""

    def __init__(self, owner: Any, name: str):
        self._owner, self._name = owner, name
        self._was_own = False
        self.original = getattr(owner, name)
        self._watches: dict[int, list[tuple[Watch, Binding]]] = {}
        functools.update_wrapper(self, self.original)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        watches = self._watches.get(threading.get_ident(), ())
        looking = [(watch, binding) for watch, binding in watches if watch.enter_call()]
        try:
            result = self.original(*arguments, **named)
        finally:
            for watch, _ in looking:
                watch.leave_call()
        for watch, binding in looking:
            watch.see(binding, arguments, named, result)
        return result

    def put_on(self) -> None:
        """In the place of the owner's function."""
        self._was_own = self._name in vars(self._owner)
        setattr(self._owner, self._name, self)

    def join(self, thread: int, watch: Watch, binding: Binding) -> None:
        self._watches[thread] = [*self._watches.get(thread, ()), (watch, binding)]

    def leave(self, thread: int, watch: Watch) -> None:
        """Takes a watch away; with the last one the owner has its function back."""
        with _LOCK:
            left = [each for each in self._watches.pop(thread, ()) if each[0] is not watch]
            if left:
                self._watches[thread] = left
            if self._watches or vars(self._owner).get(self._name) is not self:
                return
            if self._was_own:
                setattr(self._owner, self._name, self.original)
            else:
                delattr(self._owner, self._name)
