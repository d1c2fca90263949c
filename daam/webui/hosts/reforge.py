"""reForge (Panchovix's, 2026) and Forge Classic (Haoming02's, 2025), whose models lie in the package `ldm_patched`.

They sample in Forge's way, with AUTOMATIC1111's text encoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daam.webui.hosts.a1111_gallery import A1111Gallery
from daam.webui.hosts.a1111_page import A1111Page
from daam.webui.hosts.a1111_texts import A1111Texts
from daam.webui.hosts.forge_sampling import ForgeSampling
from daam.webui.hosts.protocol import Host


class ReForge(ForgeSampling, A1111Texts, A1111Gallery, A1111Page):
    """What is not Forge's is as in AUTOMATIC1111's WebUI."""

    encodes_while_sampling = False
    """As on Forge: for the encoder the host would move the model that samples out of the accelerator's memory."""


if TYPE_CHECKING:
    _complete: Host = ReForge()  # mypy sees what is missing
