"""The entry of the Script dropdown: runs a study of the prompt, one generation for each variant, one seed for all."""

from __future__ import annotations

import html
from collections.abc import Sequence
from copy import copy
from typing import Any

import gradio as gr

from daam.errors import DaamError, TraceError
from daam.pictures.quick_png import QuickPng
from daam.prompt import PromptTable, parse_prompt
from daam.prompt.terms import parse_terms
from daam.results.drawing_settings import DrawingSettings
from daam.results.result import Result
from daam.results.settings import TITLE, Settings
from daam.studies.study import Variant, count_variants, parse_weights, plan_study, terms_to_vary
from daam.studies.study_grid import draw_study
from daam.webui import texts
from daam.webui.hosts import host
from daam.webui.messages import sentence, told
from daam.webui.prompts import clip_tokenizer, table_of
from daam.webui.result_store import store
from daam.webui.results import NOTES_KEY, RESULT_KEY
from daam.webui.run import last_result, override

STUDY = f"{TITLE}: study"
"""Its name in the Script dropdown; the panel's own is `TITLE`."""
INFOTEXT_KEY = "Heatmap study"
WEIGHTS = "0.6, 0.8, 1.2, 1.4"


class StudyScript:
    """To be mixed with the host's `scripts.Script`.

    Has no state; the generations are ordinary ones, traced by the panel's script.
    """

    def title(self) -> str:
        return STUDY

    def show(self, is_img2img: bool) -> bool:
        return True

    def ui(self, is_img2img: bool) -> list[Any]:
        tab = "img2img" if is_img2img else "txt2img"
        prefix = f"{tab}_attention_heatmap_study"
        gr.HTML(f"<p>{texts.STUDY_EXPLANATION}</p>")
        terms = gr.Textbox(label=texts.STUDY_TERMS, value="", elem_id=f"{prefix}_terms")
        with gr.Row():
            weights = gr.Textbox(label=texts.STUDY_WEIGHTS, value=WEIGHTS, elem_id=f"{prefix}_weights")
            leave_out = gr.Checkbox(label=texts.STUDY_LEAVE_OUT, value=True, elem_id=f"{prefix}_leave_out")
        count = gr.HTML(count_text("", WEIGHTS, True), elem_id=f"{prefix}_count")
        inputs = [terms, weights, leave_out]
        prompt = gr.Textbox(visible=False)  # the page's own, which the browser puts in
        with_prompt = f"(terms, weights, leaveOut) => [terms, weights, leaveOut, attentionHeatmapPrompt('{tab}')]"
        for component in inputs:
            component.change(
                count_text, inputs=[*inputs, prompt], outputs=[count], show_progress=False, _js=with_prompt
            )
        return inputs

    def run(self, p: Any, terms: str, weights: str, leave_out: bool) -> Any:
        """A grid and the picture of each variant; nothing but one sentence where there is nothing to vary."""
        prompt = p.prompt[0] if isinstance(p.prompt, list) else p.prompt
        try:
            variants = plan_study(table_of(prompt), terms, parse_weights(weights), leave_out=bool(leave_out))
        except DaamError as error:
            p.comment(f"{STUDY}: {sentence(told(error))}")
            nothing = host().result_of_series(p, [], [])
            nothing.extra_generation_params = {**nothing.extra_generation_params, NOTES_KEY: [sentence(told(error))]}
            return nothing
        host().begin_series(p, len(variants) * (2 if host().has_hires_pass(p) else 1))
        results: dict[Variant, Result] = {}
        images: list[Any] = []
        infotexts: list[str] = []
        for number, variant in enumerate(variants, start=1):
            host().tell_job(f"{STUDY} {number} of {len(variants)}: {variant.label}")
            processed, result = _generate(p, variant)
            if host().is_interrupted() or result is None:
                break  # half a picture is no variant; those before it are kept
            images.append(processed.images[processed.index_of_first_image])
            infotexts.append(processed.infotexts[processed.index_of_first_image])
            results[variant] = result
        if not results:
            return host().result_of_series(p, [], [])
        panel = Settings.read(host().values_of_script(p, TITLE), {"terms": ""})
        drawing = DrawingSettings.of(panel, len(results), host().grid_background())
        grid = QuickPng.of(draw_study(results, drawing))
        host().label_image(grid, infotexts[0])
        p.all_prompts, p.all_seeds = [prompt], [p.seed]
        host().save_grid(p, grid, infotexts[0])
        shown = host().result_of_series(p, [grid, *images], [infotexts[0], *infotexts], grids=1)
        shown.all_prompts, shown.all_seeds = [variant.prompt for variant in results], [p.seed] * len(results)
        key = store.add(_as_one(list(results.values()), drawing), infotexts)
        shown.extra_generation_params = {**shown.extra_generation_params, RESULT_KEY: key}
        return shown


def _as_one(results: Sequence[Result], drawing: DrawingSettings) -> Result:
    """The variants as the pictures of one generation, for the viewer."""
    pictures = [result.pictures[0] for result in results]
    return Result(pictures, [result.traces[0] for result in results], drawing, results[0].notes)


def _generate(p: Any, variant: Variant) -> tuple[Any, Result | None]:
    """One generation on a copy of `p`, and what was traced of it; None after an interruption.

    Raises:
        TraceError: there are no heat maps; the text says why.
    """
    varied = copy(p)
    varied.prompt = variant.prompt
    varied.extra_generation_params = {**p.extra_generation_params, INFOTEXT_KEY: variant.label}
    varied.do_not_save_grid = True
    override(varied, "enabled", True)
    for name in ("hide_images", "no_saving"):  # the study's doing, not what the user chose
        override(varied, name, True, is_told=False)
    processed = host().generate(varied)
    found = last_result(varied)
    if found is None:
        if host().is_interrupted():
            return processed, None
        raise TraceError(f"{variant.label}: {processed.comments.strip() or 'no heat maps came out'}")
    return processed, found


def count_text(terms: str, weights: str, leave_out: bool, prompt: str = "") -> str:
    """How many generations it will take, or what is wrong, before it starts."""
    try:
        values, chosen = parse_weights(weights), parse_terms(terms)
        if prompt:
            chosen = terms_to_vary(_table_to_count(prompt), terms)
        text = f"{count_variants(len(chosen), len(values), bool(leave_out))} generations."
        if not chosen:
            text = f"1 generation, and {len(values) + bool(leave_out)} for each word of the prompt."
    except DaamError as error:
        text = sentence(told(error))
    return f"<p>{html.escape(text)}</p>"


def _table_to_count(prompt: str) -> PromptTable:
    """As the checkpoint reads it; in the WebUI's usual way where none is loaded."""
    try:
        return table_of(prompt)
    except DaamError:
        raise
    except Exception:
        return parse_prompt(prompt, clip_tokenizer())
