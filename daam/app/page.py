"""The page of `daam ui`: a prompt, a few settings, and the viewer of the result. Needs the extra `app` (gradio)."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import gradio as gr
from PIL import Image

from daam.errors import DaamError
from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.hosts.diffusers_models import EMBEDDED, EMBEDDED_GUIDANCE_SCALE, SAMPLERS, load_pipeline
from daam.prompt.terms import parse_terms
from daam.results.declaring import Setting
from daam.results.drawing_settings import DrawingSettings
from daam.results.settings import Settings, settings_of
from daam.results.viewer.page import SCRIPTS, report_html

PROMPT = "a red circle and a blue square on a white background"
MOST_RUNS = 12
VIEWER_HEIGHT = 1000
APP_SCRIPTS = (*SCRIPTS, "attention_heatmap_app.js")


class InterruptedRunError(Exception):
    """The user pressed Interrupt."""


class Session:
    """What was generated since the start, and whether the run was interrupted."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.runs: list[tuple[Image.Image, str]] = []
        self.pages: list[str] = []

    def interrupt(self) -> None:
        self._stop.set()

    def run(
        self,
        model: str,
        settings: GenerationSettings,
        show: Callable[[int, int], None],
        wanted: Settings | None = None,
    ) -> tuple[str, list[str]]:
        """Generates; (the viewer's page, why terms have no map).

        Args:
            wanted: what the viewer begins with, and the probe words; None is the defaults.

        Raises:
            DaamError: what the user can put right.
            InterruptedRunError: by `interrupt`.
        """
        self._stop.clear()
        wanted = wanted or Settings()

        def on_step(done: int, total: int) -> None:
            show(done, total)
            if self._stop.is_set():
                raise InterruptedRunError

        made = generate(pipeline_of(model), settings, probe=wanted.probe, on_step=on_step)
        result = replace(made, drawing=DrawingSettings.of(wanted))
        page = report_html(result, scripts=APP_SCRIPTS)
        self.runs.insert(0, (result.pictures[0], settings.prompt))
        self.pages.insert(0, page)
        del self.runs[MOST_RUNS:], self.pages[MOST_RUNS:]
        if result.fault is not None:
            return page, [result.fault]
        reasons = [result.heat_maps().explain(term.quoted) for term in parse_terms(wanted.terms)]
        return page, [reason for reason in reasons if reason is not None]


@lru_cache(maxsize=1)
def pipeline_of(model: str) -> Any:
    """The last model that was used stays loaded."""
    return load_pipeline(model)


def framed(page: str) -> str:
    """A page within the page: its scripts and styles touch nothing of ours."""
    return f'<iframe srcdoc="{html.escape(page)}" allow="clipboard-write" title="the viewer" ' + (
        f'style="width: 100%; height: {VIEWER_HEIGHT}px; border: 0"></iframe>'
    )


def told(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def make_app(model: str = EMBEDDED, table: type[Settings] = Settings) -> Any:
    """The gradio app; call its `launch`."""
    session = Session()

    def run(
        given: dict[Any, Any],
        progress: Any = gr.Progress(),  # noqa: B008 (gradio finds it by this default)
    ) -> tuple[str, list[tuple[Image.Image, str]]]:
        def show(done: int, total: int) -> None:
            progress((done, total), desc="sampling")

        values = {name: given[component] for name, component in inputs.items()}
        try:
            settings = GenerationSettings(
                values["prompt"], values["negative"], seed=int(values["seed"]), steps=int(values["steps"]),
                guidance_scale=values["guidance"], sampler=values["sampler"],
            )  # fmt: skip
            wanted = table.read([], values)
            page, reasons = session.run(values["model"], settings, show, wanted)
            return "".join(map(told, reasons)) + framed(page), session.runs
        except DaamError as error:
            return told(str(error)), session.runs
        except InterruptedRunError:
            return told("Interrupted."), session.runs

    def again(event: gr.SelectData) -> str:
        return framed(session.pages[event.index])

    with gr.Blocks(title="Attention Heatmap", analytics_enabled=False) as app:
        with gr.Row():
            with gr.Column(scale=1):
                inputs = {**make_generation_inputs(model), **make_setting_inputs(settings_of(table))}
                with gr.Row():
                    start = gr.Button("Generate", variant="primary", elem_id="generate")
                    stop = gr.Button("Interrupt", elem_id="interrupt")
                gallery = gr.Gallery(label="Last runs", columns=4, elem_id="runs")
            with gr.Column(scale=2):
                viewer = gr.HTML(elem_id="viewer")
        start.click(run, inputs=set(inputs.values()), outputs=[viewer, gallery])
        stop.click(session.interrupt, queue=False)
        gallery.select(again, outputs=[viewer])
    return app.queue()


def make_generation_inputs(model: str) -> dict[str, Any]:
    """The components that say what to generate, by name."""
    guidance_scale = EMBEDDED_GUIDANCE_SCALE if model == EMBEDDED else 7.0
    return {
        "model": gr.Textbox(
            model, label="Model (embedded, a diffusers folder, a checkpoint, a hub id)", elem_id="model"
        ),
        "prompt": gr.Textbox(PROMPT, label="Prompt, with the WebUI's weights", lines=3, elem_id="prompt"),
        "negative": gr.Textbox("", label="Negative prompt", elem_id="negative"),
        "seed": gr.Number(2, label="Seed", precision=0, elem_id="seed"),
        "steps": gr.Slider(1, 100, 20, step=1, label="Steps", elem_id="steps"),
        "guidance": gr.Slider(0, 20, guidance_scale, label="Guidance scale", elem_id="guidance"),
        "sampler": gr.Dropdown(list(SAMPLERS), value="DPM++ 2M", label="Sampler", elem_id="sampler"),
    }


def make_setting_inputs(settings: Sequence[Setting]) -> dict[str, Any]:
    """The components of the table's settings, by name: texts in the open, the others where they fold away."""
    shown = [setting for setting in settings if setting.is_in_app]
    made = {setting.name: _component(setting) for setting in shown if setting.kind == "text"}
    with gr.Accordion("Look", open=False, elem_id="look"):
        made.update({setting.name: _component(setting) for setting in shown if setting.kind != "text"})
    return made


def _component(setting: Setting) -> Any:
    return getattr(gr, setting.component)(**setting.component_arguments(), info=setting.help, elem_id=setting.name)
