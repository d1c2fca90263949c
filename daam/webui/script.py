"""The always-visible panel's script: wires the WebUI's life cycle to the run of a processing object."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from daam.errors import DaamError, describe
from daam.results.settings import TITLE
from daam.webui.hosts import host
from daam.webui.messages import sentence, told
from daam.webui.panel import make_panel
from daam.webui.results import NOTES_KEY, add_heat_maps
from daam.webui.run import begin_run, run_of
from daam.webui.watching import stop_telling

logger = logging.getLogger(__name__)


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """A fault in the heat maps is logged once and told under the pictures; it never costs the picture."""

    @functools.wraps(method)
    def call(self: Any, p: Any, *arguments: Any, **named: Any) -> None:
        try:
            method(self, p, *arguments, **named)
        except Exception as error:
            logger.warning("%s: %s", TITLE, describe(error), exc_info=not isinstance(error, DaamError))
            p.comment(f"{TITLE}: {sentence(told(error))}")

    return call


class PanelScript:
    """To be mixed with the host's `scripts.Script`.

    Holds no state of a generation: the WebUI shares one object between nested generations.
    """

    def title(self) -> str:
        return TITLE

    def show(self, is_img2img: bool) -> object:
        return host().always_visible

    def ui(self, is_img2img: bool) -> list[Any]:
        panel = make_panel("img2img" if is_img2img else "txt2img")
        self.infotext_fields = panel.fields
        self.paste_field_names = [key for _, key in panel.fields]
        return panel.components

    @_harmless
    def process(self, p: Any, *values: Any) -> None:
        if host().selected_script(p) is not None:  # the script may have generated with `p` before
            host().hand_on(p, NOTES_KEY, [])
        run = begin_run(p, values)
        if run is not None and host().selected_script(p) != TITLE:  # a study's generations are ordinary ones
            p.extra_generation_params.update(run.infotext)

    @_harmless
    def process_batch(self, p: Any, *values: Any, **named: Any) -> None:
        run = run_of(p)
        if run is not None:
            run.watch_batch(p)

    @_harmless
    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        run = run_of(p)
        for line in host().unshown_comments(p):
            processed.comments += f"{line}\n"
        if run is None or not processed.images:
            return
        run.finished = True
        stop_telling()
        add_heat_maps(p, processed, run)
