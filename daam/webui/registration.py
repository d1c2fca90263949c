"""Registers everything with the WebUI; it forgets all of it at "Reload UI" and loads the script anew."""

from __future__ import annotations

from modules import script_callbacks, scripts, shared

from daam.webui.api import add_routes
from daam.webui.axes import add_axes
from daam.webui.hosts import host
from daam.webui.options import add_options
from daam.webui.result_store import store
from daam.webui.script import PanelScript
from daam.webui.study_script import StudyScript
from daam.webui.watching import see_denoiser_call


class AttentionHeatmapScript(PanelScript, scripts.Script):  # type: ignore[misc]
    """The panel, in the form in which the WebUI finds it."""


class AttentionHeatmapStudy(StudyScript, scripts.Script):  # type: ignore[misc]
    """The entry of the Script dropdown, in the form in which the WebUI finds it."""


def register() -> None:
    """Called once for each load of the script."""
    store.most_results = getattr(shared.cmd_opts, "attention_heatmap_results", store.most_results)
    host().on_denoiser_call(see_denoiser_call)
    script_callbacks.on_ui_settings(add_options)
    script_callbacks.on_before_ui(add_axes)
    script_callbacks.on_app_started(add_routes)
