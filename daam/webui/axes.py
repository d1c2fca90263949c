"""Our axes of the WebUI's X/Y/Z plot: one entry each. A cell then shows the heat maps instead of the picture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from modules import scripts

from daam.webui.controls import CONTROLS, TITLE
from daam.webui.run import override

AXES = ("terms", "alpha", "colormap", "scale", "layers")
"""Names of controls."""


def add_axes() -> None:
    """Adds the axes to X/Y/Z plot, if the WebUI has it; the WebUI calls it before it makes its page."""
    module = _xyz_grid()
    if module is None or any(option.label.startswith(f"[{TITLE}]") for option in module.axis_options):
        return
    by_name = {control.name: control for control in CONTROLS}
    for name in AXES:
        control = by_name[name]
        kind = float if control.kind == "slider" else str
        choices = (lambda found=list(control.choices): found) if control.choices else None
        label = f"[{TITLE}] {control.label.split(' (')[0]}"
        module.axis_options.append(module.AxisOption(label, kind, _apply(name), choices=choices))


def _apply(name: str) -> Callable[[Any, Any, Any], None]:
    def apply(p: Any, value: Any, values: Any) -> None:
        override(p, "enabled", True)
        override(p, name, value)

    return apply


def _xyz_grid() -> Any | None:
    for data in scripts.scripts_data:
        module = data.module if not isinstance(data.module, str) else sys.modules.get(data.module)
        if hasattr(module, "axis_options") and hasattr(module, "AxisOption"):
            return module
    return None
