"""Listens to methods of one object: what they were called with and what they gave. Knows no pipeline.

A pipeline sends its prompts, its latents and its crops through methods of its own; they are wrapped on the object, and
the last listener that leaves puts them back.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

Listener = Callable[[dict[str, Any], Any], None]
"""Gets the arguments of a call by name, and its result."""


def listen(owner: Any, method: str, listener: Listener) -> Callable[[], None]:
    """Calls the listener after each call of a method. Several listeners share one wrapper and may leave in any order.

    Returns:
        What takes the listener away; the last one puts the owner's method back.
    """
    wrapper = vars(owner).get(method)
    if not isinstance(wrapper, _Wrapper):
        wrapper = _Wrapper(owner, method)
        setattr(owner, method, wrapper)
    wrapper.listeners.append(listener)

    def leave() -> None:
        wrapper.listeners.remove(listener)
        if not wrapper.listeners and vars(owner).get(method) is wrapper:
            if wrapper.was_own:
                setattr(owner, method, wrapper.original)
            else:
                delattr(owner, method)

    return leave


class _Wrapper:
    """Stands in for a method on its object. A copy of the object gets the method itself, not this."""

    def __init__(self, owner: Any, method: str):
        self.was_own = method in vars(owner)
        self.original = getattr(owner, method)
        self.listeners: list[Listener] = []
        self._owner = owner
        self._signature = inspect.signature(self.original)
        functools.update_wrapper(self, self.original)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        try:
            given = self._given(arguments, named)
        except TypeError:
            return self.original(*arguments, **named)  # which says what is wrong
        result = self.original(*arguments, **named)
        for listener in self.listeners:
            listener(given, result)
        return result

    def _given(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """By name, as they are before the method changes its lists."""
        bound = self._signature.bind(*arguments, **named)
        bound.apply_defaults()
        given = {name: list(value) if isinstance(value, list) else value for name, value in bound.arguments.items()}
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given.update(given.pop(name, {}))
        return given

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._owner))
        function = getattr(self.original, "__func__", None)
        return self.original if copied is None or function is None else types.MethodType(function, copied)
