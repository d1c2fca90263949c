"""Real WebUIs for the tests of this folder; they are skipped where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_webui.server import Server, make_checkpoints
from tests.real_webui.webuis import A1111, WEBUIS, Webui


def folder_of(kind: Webui) -> Path:
    folder = os.environ.get(kind.variable)
    if not folder:
        pytest.skip(f"set {kind.variable} to a checkout of {kind.name}, with its environment in venv/ or beside it")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def webui() -> Path:
    return folder_of(A1111)


@pytest.fixture(scope="session")
def bench(webui: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of AUTOMATIC1111's WebUI with the tiny checkpoints."""
    folder = tmp_path_factory.mktemp("webui")
    make_checkpoints(webui, folder)
    return folder


@pytest.fixture(scope="session", params=WEBUIS, ids=lambda kind: kind.variable.removesuffix("_DIR").lower())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each WebUI that there is, one after the other."""
    kind: Webui = request.param
    folder = folder_of(kind)
    if kind is A1111:
        bench: Path = request.getfixturevalue("bench")
        checkpoint = str(bench / "models" / "Stable-diffusion" / "embedded.safetensors")
        with Server(folder, bench, "--ckpt", checkpoint) as started:
            started.post("/bench/sd3", folder=str(bench))
            started.post("/sdapi/v1/refresh-checkpoints")
            yield started
        return
    data = tmp_path_factory.mktemp(kind.variable.lower())
    make_checkpoints(folder, data, kind)
    try:
        allowed = "--allowed-paths" if kind.has_pipelines else "--gradio-allowed-path"
        with Server(folder, data, allowed, str(folder), kind=kind) as started:
            yield started
    finally:
        remove_models(data)


def remove_models(data: Path) -> None:
    """Those of the Forges are of several gigabytes, which pytest would keep for three sessions."""
    for file in data.rglob("models/**/*.safetensors"):
        file.unlink()
