"""A real WebUI for the tests of this folder; they are skipped where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_webui.server import Server, make_checkpoints


@pytest.fixture(scope="session")
def webui() -> Path:
    folder = os.environ.get("WEBUI_DIR")
    if not folder:
        pytest.skip("set WEBUI_DIR to a checkout of AUTOMATIC1111's WebUI, with its environment in venv/ or beside it")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def bench(webui: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of the WebUI with the tiny checkpoints."""
    folder = tmp_path_factory.mktemp("webui")
    make_checkpoints(webui, folder)
    return folder


@pytest.fixture(scope="session")
def server(webui: Path, bench: Path) -> Iterator[Server]:
    with Server(webui, bench, "--ckpt", str(bench / "models" / "Stable-diffusion" / "embedded.safetensors")) as started:
        started.post("/bench/sd3", folder=str(bench))
        started.post("/sdapi/v1/refresh-checkpoints")
        yield started
