"""Where the WebUI's own settings stand in its page; versions name and place them differently."""

from __future__ import annotations

from modules import shared


def setting_place(name: str) -> str:
    """ "Settings → Gallery → Show grid in gallery" for "return_grid" in 1.10.1."""
    declared = shared.opts.data_labels.get(name)
    if declared is None:
        return f"Settings → {name}"
    section = (declared.section or (None, ""))[1]
    return " → ".join(each for each in ("Settings", section, declared.label) if each)
