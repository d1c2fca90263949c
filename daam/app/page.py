"""The page of `daam ui`: a prompt, a few settings, and the viewer of the result. Needs the extra `app` (gradio)."""

from __future__ import annotations

import html
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from daam.errors import DaamError
from daam.hosts.diffusers_generate import GUIDANCE_SCALE, GenerationSettings, generate
from daam.hosts.diffusers_models import EMBEDDED, SAMPLERS, load_pipeline, usual_guidance_scale
from daam.maps.readings import kept_for
from daam.prompt.terms import parse_terms
from daam.results.declaring import Setting
from daam.results.drawing import draw
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.results.settings import Settings, settings_of
from daam.results.viewer.page import SCRIPTS, report_html

PROMPT = "a red circle and a blue square on a white background"
MOST_RUNS = 12
VIEWER_HEIGHT = 1100
HEADING = "# Attention Heatmap\nShows which part of the picture attends to each word of the prompt."
BEFORE_THE_FIRST = "<p>Press Generate: the picture and its heat maps come here.</p>"
STYLE = """<style>
#generate { background: #c2410c; color: #ffffff; }
.info-text, .max_value, .min_value { color: #5b6270 !important; }
.dark .info-text, .dark .max_value, .dark .min_value { color: #a6adba !important; }
</style>"""
"""Gradio's own greys, and white on its orange, are too pale to be read (WCAG asks for 4.5:1)."""
EXAMPLES = (
    PROMPT,
    "a yellow sun above a red house on grass",
    "a (green:1.3) star and a purple triangle on a black background",
)
APP_SCRIPTS = (*SCRIPTS, "attention_heatmap_app.js")


class Session:
    """What was generated since the start, and whether the run was interrupted."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix="daam-ui-")
        self.runs: list[tuple[Image.Image, str]] = []
        self.pages: list[str] = []
        self.grids: list[str] = []
        self._count = 0

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
        """
        self._stop.clear()
        wanted = wanted or Settings()

        def on_step(done: int, total: int) -> bool:
            show(done, total)
            return self._stop.is_set()

        keep = kept_for(wanted.reading)
        made = generate(pipeline_of(model), settings, keep=keep, probe=wanted.probe, on_step=on_step)
        result = replace(made, drawing=DrawingSettings.of(wanted), notes=replace(made.notes, model=model))
        page = report_html(result, scripts=APP_SCRIPTS)
        self.runs.insert(0, (result.pictures[0], settings.prompt))
        self.pages.insert(0, page)
        self.grids.insert(0, self._saved_grid(result))
        for kept in (self.runs, self.pages, self.grids):
            del kept[MOST_RUNS:]
        if result.fault is not None:
            return page, [result.fault]
        reasons = [result.heat_maps().explain(term.quoted) for term in parse_terms(wanted.terms)]
        return page, [reason for reason in reasons if reason is not None]

    def _saved_grid(self, result: Result) -> str:
        """The grid's file, for the download; the picture's where there is no grid."""
        self._count += 1
        file = Path(self._folder.name) / f"grid-{self._count}.png"
        (draw(result).grid if result.fault is None else result.pictures[0]).save(file)
        return str(file)


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
    ) -> tuple[str, list[tuple[Image.Image, str]], Any]:
        def show(done: int, total: int) -> None:
            progress((done, total), desc="sampling")

        values = {name: given[component] for name, component in inputs.items()}
        try:
            settings = GenerationSettings(
                values["prompt"], values["negative"], seed=int(values["seed"]), steps=int(values["steps"]),
                guidance_scale=values["guidance"], sampler=values["sampler"], batch_size=int(values["batch"]),
                width=int(values["width"]) or None, height=int(values["height"]) or None,
            )  # fmt: skip
            wanted = table.read([], values)
            page, reasons = session.run(values["model"], settings, show, wanted)
            return "".join(map(told, reasons)) + framed(page), session.runs, session.grids[0]
        except DaamError as error:
            return told(str(error)), session.runs, gr.update()

    def again(event: gr.SelectData) -> tuple[str, str]:
        return framed(session.pages[event.index]), session.grids[event.index]

    with gr.Blocks(title="Attention Heatmap", analytics_enabled=False) as app:
        gr.Markdown(HEADING)
        gr.HTML(STYLE)
        with gr.Row():
            with gr.Column(scale=1):
                inputs = make_prompt_inputs()
                with gr.Row():
                    start = gr.Button("Generate", variant="primary", elem_id="generate")
                    stop = gr.Button("Interrupt", elem_id="interrupt")
                gr.Examples([[example] for example in EXAMPLES], [inputs["prompt"]], label="Try")
                inputs |= {**make_generation_inputs(model), **make_setting_inputs(settings_of(table))}
            with gr.Column(scale=2):
                viewer = gr.HTML(BEFORE_THE_FIRST, elem_id="viewer")
                with gr.Row():
                    gallery = gr.Gallery(label="Last runs", columns=4, height=180, elem_id="runs")
                    grid = gr.File(label="Grid", height=180, interactive=False, elem_id="grid")
        start.click(run, inputs=set(inputs.values()), outputs=[viewer, gallery, grid])
        stop.click(session.interrupt, queue=False)
        gallery.select(again, outputs=[viewer, grid])
    return app.queue()


def make_generation_inputs(model: str) -> dict[str, Any]:
    """The components that say how to generate, by name, in the WebUI's order."""
    guidance_scale = usual_guidance_scale(model) or GUIDANCE_SCALE
    made: dict[str, Any] = {}
    with gr.Row():
        made["sampler"] = gr.Dropdown(list(SAMPLERS), value="DPM++ 2M", label="Sampling method", elem_id="sampler")
        made["steps"] = gr.Slider(1, 100, 20, step=1, label="Sampling steps", elem_id="steps")
    with gr.Row():
        made["width"] = gr.Number(0, label="Width (0 = the model's own)", precision=0, elem_id="width")
        made["height"] = gr.Number(0, label="Height", precision=0, elem_id="height")
        made["batch"] = gr.Slider(1, 8, 1, step=1, label="Pictures", elem_id="batch")
    with gr.Row():
        made["guidance"] = gr.Slider(0, 20, guidance_scale, label="CFG scale", elem_id="guidance")
        made["seed"] = gr.Number(2, label="Seed", precision=0, elem_id="seed")
    label = "Model (embedded, a diffusers folder, a checkpoint, a hub id)"
    return {**made, "model": gr.Textbox(model, label=label, elem_id="model")}


def make_prompt_inputs() -> dict[str, Any]:
    """The two prompts, by name."""
    return {
        "prompt": gr.Textbox(PROMPT, label="Prompt, with the WebUI's weights", lines=3, elem_id="prompt"),
        "negative": gr.Textbox("", label="Negative prompt", lines=2, elem_id="negative"),
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
