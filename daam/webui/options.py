"""Our page of the WebUI's settings."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import shared

from daam.webui import texts
from daam.webui.controls import CONTROLS, TITLE, Control

SECTION = ("attention_heatmap", TITLE)
KEEP_RECORDS = "attention_heatmap_keep_records"
RECORD_FOLDER = "attention_heatmap_record_folder"
DEFAULTS = ("alpha", "colormap", "scale", "image_scale", "use_grid", "layout")
"""Controls whose value at start is a setting."""


def option_name(control: Control) -> str:
    return f"attention_heatmap_default_{control.name}"


def default_of(control: Control) -> Any:
    """What a control shows at start."""
    if control.name not in DEFAULTS:
        return control.default
    value = getattr(shared.opts, option_name(control), None)
    return control.default if value is None else value


def add_options() -> None:
    """Registers the page; the WebUI calls it before it makes its settings."""
    for control in CONTROLS:
        if control.name not in DEFAULTS:
            continue
        component: Any = None
        arguments: dict[str, Any] | None = None
        if control.kind == "choice":
            component, arguments = gr.Dropdown, {"choices": list(control.choices)}
        elif control.kind == "slider":
            component = gr.Slider
            arguments = {"minimum": control.minimum, "maximum": control.maximum, "step": control.step}
        label = texts.AT_START.format(control.label)
        _add(option_name(control), shared.OptionInfo(control.default, label, component, arguments, section=SECTION))
    _add(
        KEEP_RECORDS,
        shared.OptionInfo(False, texts.KEEP_RECORDS, section=SECTION),
    )
    _add(
        RECORD_FOLDER,
        shared.OptionInfo("", texts.RECORD_FOLDER, section=SECTION),
    )


def _add(name: str, info: Any) -> None:
    shared.opts.add_option(name, info)
