"""Our page of the WebUI's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from daam.results.declaring import Setting
from daam.results.settings import SETTINGS, TITLE
from daam.webui import texts
from daam.webui.hosts import host

SECTION = ("attention_heatmap", TITLE)
KEEP_RECORDS = "attention_heatmap_keep_records"
RECORD_FOLDER = "attention_heatmap_record_folder"


def option_name(setting: Setting) -> str:
    return f"attention_heatmap_default_{setting.name}"


def default_of(setting: Setting) -> Any:
    """What a control shows at start."""
    if not setting.has_start_value:
        return setting.default
    return host().option(option_name(setting), setting.default)


def add_options(settings: Sequence[Setting] = SETTINGS) -> None:
    """Registers the page; the WebUI calls it before it makes its settings."""
    for setting in settings:
        if setting.has_start_value:
            limits = setting.limits()
            component = getattr(gr, setting.component) if limits else None
            label = texts.AT_START.format(setting.label)
            host().add_option(option_name(setting), setting.default, label, SECTION, component, limits)
    host().add_option(KEEP_RECORDS, False, texts.KEEP_RECORDS, SECTION)
    host().add_option(RECORD_FOLDER, "", texts.RECORD_FOLDER, SECTION)
