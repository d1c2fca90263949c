"""The panel in txt2img and img2img, made from the table of controls."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from modules.ui_components import InputAccordion

from daam.errors import DaamError
from daam.webui import texts
from daam.webui.controls import CONTROLS, Control, value_from_infotext
from daam.webui.earlier import result_of_saved
from daam.webui.hosts import host
from daam.webui.options import RECORD_FOLDER, default_of
from daam.webui.result_store import store

ROWS = (
    ("alpha", "image_scale"),
    ("colormap", "scale", "layout"),
    ("use_grid", "hide_images", "no_saving"),
    ("hide_caption", "with_negative", "per_layer"),
    ("layers_as_rows", "passes", "layers"),
    ("probe", "keep_steps"),
)


class InfotextKey(str):
    """A control's key in the infotext that also reads it: the WebUI looks fields up by name and calls what it can."""

    def __new__(cls, control: Control) -> InfotextKey:
        key = super().__new__(cls, control.infotext)
        key._control = control
        return key

    _control: Control

    def __call__(self, parameters: dict[str, Any]) -> Any:
        return value_from_infotext(self._control, parameters)


@dataclass(frozen=True)
class Panel:
    """Attributes: components: in the order of `CONTROLS`; fields: each with its key in the infotext."""

    components: list[Any]
    fields: list[tuple[Any, InfotextKey]]


def make_panel(tab: str) -> Panel:
    """Builds the panel of "txt2img" or "img2img"; may be called several times, as the API does."""
    by_name = {control.name: control for control in CONTROLS}
    made: dict[str, Any] = {}
    prefix = f"{tab}_attention_heatmap"
    enabled = by_name["enabled"]
    with InputAccordion(enabled.default, label=enabled.label, elem_id=prefix) as made["enabled"]:
        with gr.Row(elem_id=f"{prefix}_terms_row"):
            made["terms"] = _component(by_name["terms"], prefix)
            gr.Button(texts.FILL, elem_id=f"{prefix}_fill", tooltip=texts.FILL_TOOLTIP, scale=0, min_width=120).click(
                None, _js=f"() => attentionHeatmapFillTerms('{tab}')"
            )
        for row in ROWS:
            with gr.Row():
                for name in row:
                    made[name] = _component(by_name[name], prefix)
        _make_earlier(tab, prefix)
    components = [made[control.name] for control in CONTROLS]
    return Panel(components, [(made[control.name], InfotextKey(control)) for control in CONTROLS])


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
        return "", f"<p>{html.escape(str(error))}</p>"


def _component(control: Control, prefix: str) -> Any:
    shared = {
        "label": control.label,
        "value": default_of(control),
        "elem_id": f"{prefix}_{control.name}",
        "tooltip": control.tooltip,
    }
    if control.kind == "checkbox":
        return gr.Checkbox(**shared)
    if control.kind == "choice":
        return gr.Dropdown(choices=list(control.choices), **shared)
    if control.kind == "slider":
        return gr.Slider(minimum=control.minimum, maximum=control.maximum, step=control.step, **shared)
    return gr.Textbox(lines=1, **shared)
