"""Our page of the WebUI's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from modules import shared

from daam.results.declaring import Setting
from daam.results.settings import SETTINGS, TITLE
from daam.webui import texts

SECTION = ("attention_heatmap", TITLE)
KEEP_RECORDS = "attention_heatmap_keep_records"
RECORD_FOLDER = "attention_heatmap_record_folder"


def option_name(setting: Setting) -> str:
    return f"attention_heatmap_default_{setting.name}"


def default_of(setting: Setting) -> Any:
    """What a control shows at start."""
    if not setting.has_start_value:
        return setting.default
    value = getattr(shared.opts, option_name(setting), None)
    return setting.default if value is None else value


def add_options(settings: Sequence[Setting] = SETTINGS) -> None:
    """Registers the page; the WebUI calls it before it makes its settings."""
    for setting in settings:
        if setting.has_start_value:
            limits = setting.limits()
            component = getattr(gr, setting.component) if limits else None
            label = texts.AT_START.format(setting.label)
            info = shared.OptionInfo(setting.default, label, component, limits or None, section=SECTION)
            _add(option_name(setting), info)
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
