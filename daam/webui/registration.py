"""Registers every callback with the WebUI; it forgets them all at "Reload UI" and loads the script anew."""

from __future__ import annotations

from modules import script_callbacks, shared

from daam.webui import host
from daam.webui.api import add_routes
from daam.webui.axes import add_axes
from daam.webui.options import add_options
from daam.webui.result_store import store
from daam.webui.watching import see_denoiser_call


def register() -> None:
    """Called once for each load of the script."""
    store.most_results = getattr(shared.cmd_opts, "attention_heatmap_results", store.most_results)
    host.on_denoiser_call(see_denoiser_call)
    script_callbacks.on_ui_settings(add_options)
    script_callbacks.on_before_ui(add_axes)
    script_callbacks.on_app_started(add_routes)
