"""Stands in for gradio and the WebUI, so that the doors of the table can be opened without them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import daam
from daam.webui.hosts import Host

PACKAGES = ("gradio", "fastapi")
ROOMS = ("webui", "app")


class FakeGradio(ModuleType):
    """Keeps what is made, in its order, each with `kind` and `arguments`."""

    def __init__(self) -> None:
        super().__init__("gradio")
        self.made: list[Any] = []

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("__"):
            raise AttributeError(kind)

        def make(*values: Any, **arguments: Any) -> Any:
            component = MagicMock(kind=kind, values=values, arguments=arguments)
            component.__enter__.return_value = component
            self.made.append(component)
            return component

        return make


class AxisOption:
    """As in the WebUI's xyz_grid.py."""

    def __init__(self, label: str, type: Any, apply: Any, choices: Any = None) -> None:
        self.label, self.type, self.apply, self.choices = label, type, apply, choices


class FakeWebUI:
    """Attributes: gradio; axes: of X/Y/Z plot; options: of the settings page, by name."""

    def __init__(self) -> None:
        self.gradio = FakeGradio()
        self.axes: list[AxisOption] = []
        self.options: dict[str, Any] = {}
        xyz = ModuleType("xyz_grid")
        vars(xyz).update(axis_options=self.axes, AxisOption=AxisOption)
        self.host = MagicMock(spec=Host)
        self.host.axes_module.return_value = xyz
        self.host.sampling_function.side_effect = lambda p: (p, "sample")
        self.host.own_watch.return_value = self.host.own_table.return_value = None
        self.host.unshown_comments.return_value = []
        self.host.option.side_effect = lambda name, default: default
        self.host.add_option.side_effect = self._add_option
        self.host.panel.side_effect = lambda value, label, elem_id: self.gradio.InputAccordion(
            value, label=label, elem_id=elem_id
        )

    def _add_option(self, name: str, default: Any, label: str, *_: Any) -> None:
        self.options[name] = (default, label)


@contextmanager
def fake_webui() -> Iterator[FakeWebUI]:
    """While it lasts, our doors are imported anew, with these fakes; afterwards they and the packages are as before."""
    fake = FakeWebUI()
    before = _taken_out()
    sys.modules.update({name: MagicMock() for name in ("fastapi", "fastapi.responses", "fastapi.security")})
    sys.modules["gradio"] = fake.gradio
    vars(import_module("daam.webui.hosts"))["host"] = lambda: fake.host
    try:
        yield fake
    finally:
        _taken_out()
        sys.modules.update(before)
        for room in ROOMS:
            if f"daam.{room}" in before:
                setattr(daam, room, before[f"daam.{room}"])


def _taken_out() -> dict[str, ModuleType]:
    """The doors' modules and the packages that only they import, which then are not there."""
    found = {name: module for name, module in sys.modules.items() if _is_replaced(name.split("."))}
    for name in found:
        del sys.modules[name]
    for room in ROOMS:
        if hasattr(daam, room):
            delattr(daam, room)
    return found


def _is_replaced(parts: list[str]) -> bool:
    return parts[0] in PACKAGES or (parts[0] == "daam" and len(parts) > 1 and parts[1] in ROOMS)
