"""Forge (lllyasviel's, 2025) and Forge Neo (2026), whose models and text engines lie in their package `backend`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daam.webui.hosts.a1111_gallery import A1111Gallery
from daam.webui.hosts.a1111_page import A1111Page
from daam.webui.hosts.forge_sampling import ForgeSampling
from daam.webui.hosts.forge_texts import ForgeTexts
from daam.webui.hosts.protocol import Host


class Forge(ForgeSampling, ForgeTexts, A1111Gallery, A1111Page):
    """Gallery and page are as in AUTOMATIC1111's WebUI, from which both are descended."""


if TYPE_CHECKING:
    _complete: Host = Forge()  # mypy sees what is missing
