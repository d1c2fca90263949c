"""The page of `daam ui`: a prompt, a few settings, and the viewer of the result. Needs the extra `app` (gradio)."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gradio as gr
from PIL import Image

from daam.errors import DaamError
from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.hosts.diffusers_models import EMBEDDED, EMBEDDED_GUIDANCE_SCALE, SAMPLERS, load_pipeline
from daam.maps.heat_maps import HeatMaps
from daam.prompt.terms import parse_terms
from daam.results.drawing import DrawingSettings
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
        *,
        terms: str = "",
        probe: str = "",
    ) -> tuple[str, list[str]]:
        """Generates; (the viewer's page, why terms have no map).

        Args:
            terms: comma-separated; the viewer begins with these.
            probe: comma-separated words that need not be in the prompt.

        Raises:
            DaamError: what the user can put right.
            InterruptedRunError: by `interrupt`.
        """
        self._stop.clear()
        drawing = DrawingSettings(terms=terms)

        def on_step(done: int, total: int) -> None:
            show(done, total)
            if self._stop.is_set():
                raise InterruptedRunError

        generation = generate(pipeline_of(model), settings, probe=probe, on_step=on_step)
        trace = generation.tracer.image_trace()
        page = report_html(generation.pictures, [trace], drawing, scripts=APP_SCRIPTS)
        self.runs.insert(0, (generation.pictures[0], settings.prompt))
        self.pages.insert(0, page)
        del self.runs[MOST_RUNS:], self.pages[MOST_RUNS:]
        reasons = [HeatMaps(trace).explain(term.quoted) for term in parse_terms(terms)]
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


def make_app(model: str = EMBEDDED) -> Any:
    """The gradio app; call its `launch`."""
    session = Session()

    def run(
        model: str, prompt: str, negative: str, seed: float, steps: float, guidance: float, sampler: str, terms: str,
        probe: str, progress: Any = gr.Progress(),  # noqa: B008 (gradio finds it by this default)
    ) -> tuple[str, list[tuple[Image.Image, str]]]:  # fmt: skip
        def show(done: int, total: int) -> None:
            progress((done, total), desc="sampling")

        try:
            settings = GenerationSettings(
                prompt, negative, seed=int(seed), steps=int(steps), guidance_scale=guidance, sampler=sampler
            )
            page, reasons = session.run(model, settings, show, terms=terms, probe=probe)
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
                guidance_scale = EMBEDDED_GUIDANCE_SCALE if model == EMBEDDED else 7.0
                inputs = [
                    gr.Textbox(
                        model, label="Model (embedded, a diffusers folder, a checkpoint, a hub id)", elem_id="model"
                    ),
                    gr.Textbox(PROMPT, label="Prompt, with the WebUI's weights", lines=3, elem_id="prompt"),
                    gr.Textbox("", label="Negative prompt", elem_id="negative"),
                    gr.Number(1, label="Seed", precision=0, elem_id="seed"),
                    gr.Slider(1, 100, 20, step=1, label="Steps", elem_id="steps"),
                    gr.Slider(0, 20, guidance_scale, label="Guidance scale", elem_id="guidance"),
                    gr.Dropdown(list(SAMPLERS), value="DPM++ 2M", label="Sampler", elem_id="sampler"),
                    gr.Textbox("", label="Attention terms (comma separated; empty = every word)", elem_id="terms"),
                    gr.Textbox("", label="Probe words (need not be in the prompt)", elem_id="probe"),
                ]
                with gr.Row():
                    start = gr.Button("Generate", variant="primary", elem_id="generate")
                    stop = gr.Button("Interrupt", elem_id="interrupt")
                gallery = gr.Gallery(label="Last runs", columns=4, elem_id="runs")
            with gr.Column(scale=2):
                viewer = gr.HTML(elem_id="viewer")
        start.click(run, inputs=inputs, outputs=[viewer, gallery])
        stop.click(session.interrupt, queue=False)
        gallery.select(again, outputs=[viewer])
    return app.queue()
