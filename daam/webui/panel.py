"""The panel in txt2img and img2img, made from the table of settings."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from daam.errors import DaamError
from daam.results.declaring import FOLDED, Setting, rows_of
from daam.results.settings import SETTINGS, value_from_infotext
from daam.webui import texts
from daam.webui.earlier import result_of_saved
from daam.webui.hosts import host
from daam.webui.messages import sentence, told
from daam.webui.options import RECORD_FOLDER, default_of
from daam.webui.result_store import store


class InfotextKey(str):
    """A setting's key in the infotext that also reads it: the WebUI looks fields up by name and calls what it can."""

    def __new__(cls, setting: Setting) -> InfotextKey:
        key = super().__new__(cls, setting.infotext)
        key._setting = setting
        return key

    _setting: Setting

    def __call__(self, parameters: dict[str, Any]) -> Any:
        return value_from_infotext(self._setting, parameters)


@dataclass(frozen=True)
class Panel:
    """Attributes: components: in the order of the settings; fields: each with its key in the infotext."""

    components: list[Any]
    fields: list[tuple[Any, InfotextKey]]


def make_panel(tab: str, settings: Sequence[Setting] = SETTINGS) -> Panel:
    """Builds the panel of "txt2img" or "img2img"; may be called several times, as the API does."""
    made: dict[str, Any] = {}
    prefix = f"{tab}_attention_heatmap"
    rows = rows_of(settings)
    (switch,) = rows.pop("switch")
    with host().panel(switch.default, switch.label, prefix) as made[switch.name]:
        gr.HTML(f"<p>{texts.PANEL_HELP}</p>", elem_id=f"{prefix}_help")
        for row, placed in rows.items():
            if row not in FOLDED:
                made.update(_make_row(row, placed, tab, prefix))
        with gr.Accordion(texts.MORE, open=False, elem_id=f"{prefix}_more"):
            for row in FOLDED:
                made.update(_make_row(row, rows[row], tab, prefix))
        _make_earlier(tab, prefix)
    components = [made[setting.name] for setting in settings]
    return Panel(components, [(made[setting.name], InfotextKey(setting)) for setting in settings])


def _make_row(row: str, settings: Sequence[Setting], tab: str, prefix: str) -> dict[str, Any]:
    with gr.Row(elem_id=f"{prefix}_{row}_row", elem_classes="attention-heatmap-panel-row"):
        made = {setting.name: _component(setting, prefix) for setting in settings}
        if row == "terms":
            _make_fill_button(tab, prefix)
    return made


def _make_fill_button(tab: str, prefix: str) -> None:
    tooltip = texts.FILL_TOOLTIP
    fill = gr.Button(texts.FILL, elem_id=f"{prefix}_fill", tooltip=tooltip, scale=0, min_width=140, size="sm")
    fill.click(None, _js=f"() => attentionHeatmapFillTerms('{tab}')")


def _make_earlier(tab: str, prefix: str) -> None:
    """A box that takes a saved picture; the page shows its viewer in the box."""
    with gr.Accordion(texts.EARLIER, open=False, elem_id=f"{prefix}_earlier"):
        file = gr.File(label=texts.EARLIER_FILE, file_types=["image"], elem_id=f"{prefix}_earlier_file")
        message = gr.HTML(elem_id=f"{prefix}_earlier_message")
        gr.HTML(f'<div id="{prefix}_earlier_viewer"></div>')
        name = gr.Textbox(visible=False)
    file.change(open_earlier, inputs=[file], outputs=[name, message], show_progress=False).then(
        None, inputs=[name], _js=f"(id) => attentionHeatmapShowEarlier('{tab}', id)"
    )


def open_earlier(uploaded: Any) -> tuple[str, str]:
    """Keeps the heat maps of an uploaded picture; (the id of the result or nothing, what there is to say as HTML)."""
    if uploaded is None:
        return "", ""
    own = str(host().option(RECORD_FOLDER, "")).strip()
    folders = [*host().output_folders(), *([Path(own)] if own else [])]
    try:
        return store.add(result_of_saved(Path(getattr(uploaded, "name", uploaded)), folders)), ""
    except DaamError as error:
        return "", f"<p>{html.escape(sentence(told(error)))}</p>"


def _component(setting: Setting, prefix: str) -> Any:
    arguments = {**setting.component_arguments(), "value": default_of(setting)}
    return getattr(gr, setting.component)(**arguments, elem_id=f"{prefix}_{setting.name}", tooltip=setting.help)
