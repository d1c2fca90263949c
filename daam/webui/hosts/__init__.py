"""The WebUIs that the extension runs in: one file and one entry of `HOSTS` for each.

Only here, and where the extension is registered, the WebUI's `modules` are imported.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

from daam.errors import SettingError
from daam.webui.hosts.protocol import EncodedPrompts, Host, Passes, SamplingWatch, Wanted
from daam.webui.hosts.rows import DenoiserCall, Encoded, EncodedEntry, Row, RowOrder

__all__ = [
    "HOSTS", "DenoiserCall", "Encoded", "EncodedEntry", "EncodedPrompts", "Host", "Passes", "Row", "RowOrder",
    "SamplingWatch", "Wanted", "host",
]  # fmt: skip

HOSTS: dict[str, tuple[str, str]] = {
    "modules.processing_diffusers": ("daam.webui.hosts.sdnext", "SdNext"),
    "backend.diffusion_engine": ("daam.webui.hosts.forge", "Forge"),
    "ldm_patched.modules": ("daam.webui.hosts.reforge", "ReForge"),
    "modules.sd_hijack": ("daam.webui.hosts.a1111", "A1111"),
}
"""A module by which a host is recognised, to the module and the class that know it; asked in this order."""


@lru_cache(maxsize=1)
def host() -> Host:
    """The WebUI that we run in.

    One that samples with pipelines is a `CommonHost`: it has a watch and tables of its own, and is asked for no more.

    Raises:
        SettingError: it is none that is known.
    """
    for mark, (module, name) in HOSTS.items():
        if find_spec(mark.partition(".")[0]) is not None and find_spec(mark) is not None:
            made: Host = getattr(import_module(module), name)()
            return made
    raise SettingError(f"expected a WebUI with one of {', '.join(HOSTS)}; Attention Heatmap does not know this one")
