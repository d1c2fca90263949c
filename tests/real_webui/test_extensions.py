"""Beside the extensions that people use, each run for real: EXTENSIONS_DIR holds their checkouts.

For each row the picture is bit-identical with and without heat maps, no hook is left, and the maps are what the tests'
own hooks recorded, or a sentence says why there are none. Set EXTENSIONS_TABLE to a file to get the results as a table.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from daam.results.settings import SETTINGS
from tests.real_webui.extension_rows import REPOSITORIES, ROWS, VARIANTS, ExtensionRow
from tests.real_webui.rows import picture
from tests.real_webui.server import HERE, REPOSITORY, Server, make_checkpoints, pictures, to_image
from tests.real_webui.webuis import A1111
from tests.real_webui.webuis import SETTINGS as WEBUI_SETTINGS

RESULTS: dict[str, str] = {}
TOLERANCE = 1e-5
"""Of probabilities added up over heads and steps."""


@pytest.fixture(scope="module")
def folder() -> Path:
    folder = os.environ.get("EXTENSIONS_DIR")
    if not folder:
        pytest.skip(f"set EXTENSIONS_DIR to a folder with checkouts of {', '.join(REPOSITORIES)}")
    return Path(folder).resolve()


@pytest.fixture(scope="module")
def server(webui: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("extensions")
    make_checkpoints(webui, data)
    to_image(picture()).save(data / "liked.png")
    found = {name.split("/")[1]: folder / name.split("/")[1] for name in REPOSITORIES}
    extensions = {name: path for name, path in found.items() if path.is_dir()}
    extensions |= {"attention-heatmap": REPOSITORY, "bench": HERE / "bench_extension"}
    settings = {**WEBUI_SETTINGS, **A1111.settings, **VARIANTS, "prompt_fusion_enabled": False}
    (data / "ui-config.json").write_text("{}", "utf-8")  # NegPiP reads it when it is loaded, also at the first start
    checkpoint = str(data / "models" / "Stable-diffusion" / "embedded.safetensors")
    with Server(webui, data, "--ckpt", checkpoint, extensions=extensions, settings=settings) as started:
        yield started
    table = os.environ.get("EXTENSIONS_TABLE")
    if table:
        Path(table).write_text("\n".join(table_lines(folder)) + "\n", "utf-8")


def table_lines(folder: Path) -> list[str]:
    lines = [
        f"Run on {date.today()} with AUTOMATIC1111's WebUI 1.10.1.",
        "",
        "| extension | commit | what | heat maps |",
    ]
    lines.append("|---|---|---|---|")
    for row in ROWS:
        if name_of(row) in RESULTS:
            log = ["git", "-C", str(folder / row.folder), "log", "-1", "--format=%h"]
            commit = subprocess.run(log, capture_output=True, text=True, check=False).stdout.strip()
            lines.append(f"| {row.repository} | {commit} | {row.name} | {RESULTS[name_of(row)]} |")
    return lines


def name_of(row: ExtensionRow) -> str:
    return f"{row.folder}: {row.name}"


def arguments(server: Server, title: str, values: dict[int, Any], *, is_img2img: bool) -> list[Any]:
    """What the controls say at start, but for the given ones."""
    scripts = [script for script in server.get("/sdapi/v1/script-info") if script["is_img2img"] == is_img2img]
    known = next((script["args"] for script in scripts if script["name"] == title), None)
    if known is None:
        pytest.skip(f"the extension did not load: no script {title!r}; see {server.log}")
    found = [argument["value"] for argument in known]
    for number, value in values.items():
        found[number:] = [value, *found[number + 1 :]]
    liked = str(server.data / "liked.png")
    return [[liked] if value == ["LIKED"] else value for value in found]


def generate(server: Server, row: ExtensionRow, *, heat_maps: bool) -> dict[str, Any]:
    is_img2img = row.path == "img2img"
    scripts: dict[str, Any] = {
        title: {"args": arguments(server, title, values, is_img2img=is_img2img)}
        for title, values in row.scripts.items()
    }
    scripts["Bench"] = {"args": ["truth" if heat_maps else ""]}
    if heat_maps:
        values = {"enabled": True, "with_negative": any(seen.side == "negative" for seen in row.seen)}
        scripts["Attention Heatmap"] = {"args": [values.get(setting.name, setting.default) for setting in SETTINGS]}
    return server.post(f"/sdapi/v1/{row.path}", {**row.full_payload(), "alwayson_scripts": scripts})  # type: ignore[no-any-return]


def left(server: Server) -> dict[str, int]:
    state = server.get("/bench/state")
    return {name: state[name] for name in ("hooks", "replaced")}


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row(server: Server, folder: Path, row: ExtensionRow) -> None:
    if not (folder / row.folder).is_dir():
        pytest.skip(f"{folder} holds no checkout of {row.repository} under the name {row.folder}")
    RESULTS[name_of(row)] = "FAILED"
    generate(server, row, heat_maps=False)
    before = left(server)
    without = generate(server, row, heat_maps=False)
    with_maps = generate(server, row, heat_maps=True)
    after = server.get("/bench/state")
    assert {name: after[name] for name in ("hooks", "replaced")} == {
        name: before[name] for name in ("hooks", "replaced")
    }
    extra = json.loads(with_maps["info"])["extra_generation_params"]
    notes = " ".join(extra.get("Attention Heatmap notes", []))
    assert row.note.casefold() in notes.casefold() and ("No heat maps" in notes) == is_refused(row), notes
    check_order(row, without, with_maps)
    for seen in row.seen:
        where = {"calls": seen.calls, "run": seen.run, "row": seen.row}
        place = {"image": str(seen.image), "side": seen.side, "part": str(seen.part), "entry": str(seen.entry)}
        error = server.post("/bench/error", where, result=extra["Attention Heatmap result"], **place)
        assert error < TOLERANCE, (seen, error)
    said = notes.replace("No heat maps: ", "").replace("the trace stopped: ", "")
    kind = "exact" if row.seen else "refused" if is_refused(row) else "not shown"
    RESULTS[name_of(row)] = f"{kind}{'; says: ' if said else ''}{said}"


def is_refused(row: ExtensionRow) -> bool:
    return not row.seen and not row.is_saved_only


def check_order(row: ExtensionRow, without: dict[str, Any], with_maps: dict[str, Any]) -> None:
    """The heat maps stand right behind the pictures; what is there without them is the same, bit for bit."""
    plain, mapped = ([image.tobytes() for image in pictures(answer)] for answer in (without, with_maps))
    first = json.loads(without["info"])["index_of_first_image"] + row.pictures
    added = len(mapped) - len(plain)
    assert added == bool(row.seen)
    assert mapped[:first] == plain[:first] and mapped[first + added :] == plain[first:]
