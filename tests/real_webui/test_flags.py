"""Start flags that move the model about, and other extensions: one WebUI for each, one generation on and off."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.real_webui.conftest import folder_of, remove_models
from tests.real_webui.rows import PROMPT, SMALL
from tests.real_webui.server import HERE, REPOSITORY, Server, make_checkpoints, pictures
from tests.real_webui.webuis import FORGE, FORGE_CLASSIC, FORGE_NEO, REFORGE, Webui

BENCH = {"attention-heatmap": REPOSITORY, "bench": HERE / "bench_extension"}


def check(server: Server) -> None:
    payload: dict[str, Any] = {"prompt": PROMPT, **SMALL}
    server.post("/sdapi/v1/txt2img", payload)
    before = server.get("/bench/state")
    plain = pictures(server.post("/sdapi/v1/txt2img", payload))[0]
    scripts = {"Attention Heatmap": {"args": [True]}}
    answer = server.post("/sdapi/v1/txt2img", {**payload, "alwayson_scripts": scripts})
    shown = pictures(answer)
    assert shown[0].tobytes() == plain.tobytes() and len(shown) == 2
    result = json.loads(answer["info"])["extra_generation_params"]["Attention Heatmap result"]
    terms = server.get(f"/attention-heatmap/v1/results/{result}")["images"][0]["terms"]
    assert terms and all(term["statistics"]["strength"] > 0 for term in terms)
    after = server.get("/bench/state")
    assert (after["hooks"], after["replaced"]) == (before["hooks"], before["replaced"])


def checkpoint(bench: Path) -> str:
    return str(bench / "models" / "Stable-diffusion" / "sd1.safetensors")


@pytest.mark.parametrize("flags", [["--medvram"], ["--lowvram"], ["--opt-sdp-attention"]], ids=lambda flags: flags[0])
def test_with_a_start_flag(webui: Path, bench: Path, flags: list[str]) -> None:
    with Server(webui, bench, "--ckpt", checkpoint(bench), *flags) as server:
        check(server)


EIGHT_BITS = {"fp8_e4m3fn-unet": (FORGE_NEO,), "unet-in-fp8-e4m3fn": (FORGE, REFORGE, FORGE_CLASSIC)}


@pytest.mark.parametrize(
    ("flag", "kind"),
    [(flag, kind) for flag, kinds in EIGHT_BITS.items() for kind in kinds],
    ids=lambda value: getattr(value, "variable", value),
)
def test_with_weights_of_eight_bits(flag: str, kind: Webui, tmp_path: Path) -> None:
    folder = folder_of(kind)
    make_checkpoints(folder, tmp_path, kind)
    try:
        with Server(folder, tmp_path, f"--{flag}", kind=kind) as server:
            check(server)
    finally:
        remove_models(tmp_path)


def test_beside_the_old_extension(webui: Path, bench: Path) -> None:
    """OLD_DAAM_DIR is a checkout of kousw/stable-diffusion-webui-daam."""
    folder = os.environ.get("OLD_DAAM_DIR")
    if not folder:
        pytest.skip("set OLD_DAAM_DIR to a checkout of the old DAAM extension")
    with Server(webui, bench, "--ckpt", checkpoint(bench), extensions={"a-daam": Path(folder), **BENCH}) as server:
        check(server)


def test_with_another_package_called_daam_in_the_environment(webui: Path, bench: Path, tmp_path: Path) -> None:
    """A stand-in that is imported first, by an extension that is loaded before ours."""
    other = tmp_path / "other"
    (other / "scripts").mkdir(parents=True)
    (other / "daam").mkdir()
    (other / "daam" / "__init__.py").write_text("trace = 'another package'\n", "utf-8")
    (other / "scripts" / "other.py").write_text("import daam\n\nassert daam.trace == 'another package'\n", "utf-8")
    with Server(webui, bench, "--ckpt", checkpoint(bench), extensions={"a-other": other, **BENCH}) as server:
        check(server)
    assert "Error loading script: other.py" not in server.log.read_text("utf-8", "replace")


def test_beside_castorinis_package(webui: Path, bench: Path, tmp_path: Path) -> None:
    """CASTORINI_DAAM_DIR is a folder that `pip install --target` filled with castorini's `daam` and what it needs."""
    folder = os.environ.get("CASTORINI_DAAM_DIR")
    if not folder:
        pytest.skip("set CASTORINI_DAAM_DIR to a folder with castorini's daam installed in it")
    other = tmp_path / "castorini"
    (other / "scripts").mkdir(parents=True)
    lines = [
        "import sys",
        f"sys.path.append({folder!r})",
        "import daam",
        "assert daam.trace.__module__ == 'daam.trace'",
    ]
    (other / "scripts" / "castorini.py").write_text("\n".join(lines) + "\n", "utf-8")
    with Server(webui, bench, "--ckpt", checkpoint(bench), extensions={"a-castorini": other, **BENCH}) as server:
        check(server)
    assert "Error loading script: castorini.py" not in server.log.read_text("utf-8", "replace")
