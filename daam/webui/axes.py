"""Our axes of the WebUI's X/Y/Z plot, from the table of settings. A cell then shows the heat maps, not the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from daam.results.declaring import Setting
from daam.results.settings import SETTINGS, TITLE
from daam.webui.hosts import host
from daam.webui.run import override


def add_axes(settings: Sequence[Setting] = SETTINGS) -> None:
    """Adds the axes to X/Y/Z plot, if the WebUI has it; the WebUI calls it before it makes its page."""
    module = host().axes_module()
    if module is None or any(option.label.startswith(f"[{TITLE}]") for option in module.axis_options):
        return
    for setting in settings:
        if setting.is_axis:
            kind = float if setting.kind == "slider" else str
            choices = (lambda found=list(setting.choices): found) if setting.choices else None
            label = f"[{TITLE}] {setting.label.split(' (')[0]}"
            module.axis_options.append(module.AxisOption(label, kind, _apply(setting.name), choices=choices))


def _apply(name: str) -> Callable[[Any, Any, Any], None]:
    def apply(p: Any, value: Any, values: Any) -> None:
        override(p, "enabled", True)
        override(p, name, value)

    return apply
