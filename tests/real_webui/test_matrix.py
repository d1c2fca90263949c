"""The matrix: every row in each real WebUI that there is, with and without heat maps.

For each row the pictures are bit-identical, the maps are there and of the picture's size, their columns hold the right
tokens by the WebUI's own count, nothing is left on the model, and an ordinary generation afterwards is as before.
Set MATRIX_TABLES to a folder to get the results as a table for each WebUI.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from daam.results.settings import SETTINGS
from tests.real_webui.rows import FURTHER_SAMPLERS, ROWS, SAMPLERS, SMALL, MatrixRow
from tests.real_webui.server import ApiError, Server, pictures
from tests.real_webui.webuis import A1111

RESULTS: dict[str, str] = {}
WARM: set[str] = set()
"""The checkpoint with which the row before ended, where it used no other."""
ORDINARY = {"prompt": "a red circle", **SMALL}
SMALLER = {"width": 64, "height": 64}
"""For WebUIs whose smallest UNet is larger."""
SHORTER = {**SMALLER, "steps": 2}


@pytest.fixture(scope="module", autouse=True)
def table(server: Server) -> Iterator[None]:
    """The style that a row uses; of each WebUI its own table."""
    (server.data / "styles.csv").write_text('name,prompt,negative_prompt\ntiny style,"{prompt}, grass",ugly\n', "utf-8")
    yield
    RESULTS.clear()
    WARM.clear()


def keep(server: Server, row: MatrixRow, result: str) -> None:
    """Into the table, which is written anew with each row: a run of an hour may be cut short."""
    RESULTS[name_of(row)] = result
    folder = os.environ.get("MATRIX_TABLES")
    if folder:
        lines = [f"Run on {date.today()} with {server.kind.name}, Python {platform.python_version()}.", ""]
        lines += ["| section | row | result |", "|---|---|---|"]
        lines += [
            f"| {row.section} | {row.name} | {RESULTS[name_of(row)]} |" for row in ROWS if name_of(row) in RESULTS
        ]
        name = server.kind.variable.removesuffix("_DIR").lower()
        (Path(folder) / f"{name}.md").write_text("\n".join(lines) + "\n", "utf-8")


def name_of(row: MatrixRow) -> str:
    return f"{row.section}: {row.name}"


def row_here(server: Server, row: MatrixRow) -> MatrixRow:
    """The row as this WebUI can run it; skips the test where it cannot."""
    kind = server.kind
    reason = kind.absent.get(row.name) or kind.absent.get(row.section)
    checkpoint = kind.checkpoint(row.checkpoint)
    sampler = row.payload.get("sampler_name")
    if checkpoint is None:
        reason = reason or f"no such checkpoint is loaded here ({row.checkpoint})"
    elif sampler and sampler not in samplers(server):
        reason = "the host has no such sampler"
    elif not all(script_of(server, row, title) for title in row.scripts):
        reason = "the host has no such script of its own"
    if reason:
        if sampler not in FURTHER_SAMPLERS:
            keep(server, row, f"not run: {reason}")
        pytest.skip(reason)
    changed = dict(kind.changed.get(row.name, {}))
    payload = {**row.payload, **changed.pop("payload", {})}
    if kind.is_forge and row.path == "txt2img" and row.size is None:
        payload = {**SMALLER, **payload}
    if kind.is_forge and row.section == "Sizes":
        payload["steps"] = 1
    if "hr_upscaler" in payload and not kind.has_pipelines and payload["hr_upscaler"] not in upscalers(server):
        payload["hr_upscaler"] = "None"
    if payload.get("script_name") == "x/y/z plot":
        payload["script_args"] = kind.plot_arguments((1, "1,2", []))
    return replace(row, **{"checkpoint": str(checkpoint), "payload": payload, **changed})


def script_of(server: Server, row: MatrixRow, title: str) -> dict[str, Any] | None:
    """What the host tells of its always-visible script whose title begins so; None where there is none."""
    scripts = server.get("/sdapi/v1/script-info")
    here = (script for script in scripts if script["is_alwayson"] and script["is_img2img"] == (row.path == "img2img"))
    return next((script for script in here if script["name"].startswith(title)), None)


def arguments(script: dict[str, Any], values: dict[int, Any]) -> list[Any]:
    """What its controls say at start, but for the given ones."""
    return [values.get(number, argument["value"]) for number, argument in enumerate(script["args"])]


def with_full_name(server: Server, value: Any) -> Any:
    """A unit of ControlNet with its model's name as the host wants it, which may have a hash behind it."""
    if not isinstance(value, dict) or value.get("model", "None") == "None":
        return value
    names = server.get("/controlnet/model_list")["model_list"]
    (name,) = (name for name in names if name.split(" ")[0] == value["model"])
    return {**value, "model": name}


def samplers(server: Server) -> set[str]:
    return {sampler["name"] for sampler in server.get("/sdapi/v1/samplers")}


def upscalers(server: Server) -> set[str]:
    kinds = ("upscalers", "latent-upscale-modes")
    return {"None"} | {found["name"] for kind in kinds for found in server.get(f"/sdapi/v1/{kind}")}


def generate(server: Server, row: MatrixRow, *, heat_maps: bool) -> dict[str, Any] | ApiError:
    payload = row.full_payload()
    scripts: dict[str, Any] = {"Bench": {"args": [row.mode]}}
    for title, values in row.scripts.items():
        script = script_of(server, row, title)
        assert script is not None
        named = {number: with_full_name(server, value) for number, value in values.items()}
        scripts[script["name"]] = {"args": arguments(script, named)}
    if heat_maps:
        values = {"enabled": True, **row.settings}
        scripts["Attention Heatmap"] = {"args": [values.get(setting.name, setting.default) for setting in SETTINGS]}
    payload["alwayson_scripts"] = scripts
    try:
        return server.post(f"/sdapi/v1/{row.path}", payload)  # type: ignore[no-any-return]
    except ApiError as error:
        return error


def ordinary(server: Server, row: MatrixRow) -> bytes:
    payload = {**ORDINARY, "override_settings": {"sd_model_checkpoint": row.checkpoint}}
    path = "txt2img"
    if server.kind.is_forge:
        payload |= SHORTER
    if row.checkpoint == "edit":  # its checkpoint has no txt2img
        payload, path = {**row.full_payload(), "batch_size": 1}, "img2img"
    return pictures(server.post(f"/sdapi/v1/{path}", payload))[0].tobytes()


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row(server: Server, row: MatrixRow) -> None:
    row = row_here(server, row)
    keep(server, row, "FAILED")
    if row.optimization:
        assert server.post("/bench/optimization", name=row.optimization) in (row.optimization, "none", "")
    is_warm = row.checkpoint in WARM
    WARM.clear()
    if not is_warm:
        ordinary(server, row)  # loads the checkpoint
        ordinary(server, row)
    without = generate(server, row, heat_maps=False)
    before = server.get("/bench/left")  # hypertile leaves wrappers of its own on the layers, with heat maps and without
    after_without = ordinary(server, row)
    with_maps = generate(server, row, heat_maps=True)
    assert server.get("/bench/left") == before, "something is left on the model"
    assert ordinary(server, row) == after_without, "a later generation is different"
    if row.fails:
        assert isinstance(without, ApiError) and isinstance(with_maps, ApiError)
    else:
        assert not isinstance(without, ApiError), without
        assert not isinstance(with_maps, ApiError), with_maps
        check_answer(server, row, without, with_maps)
        if row.bare is not None:
            bare_row = replace(row, payload={**row.payload, **row.bare}, options={}, scripts={})
            bare = generate(server, bare_row, heat_maps=False)
            assert not isinstance(bare, ApiError), bare
            assert pictures(bare)[0].tobytes() != pictures(without)[0].tobytes(), "the host does not follow the row"
    if not {"refiner_checkpoint", "hr_checkpoint_name"} & set(row.payload):
        WARM.add(row.checkpoint)
    keep(server, row, f"ok – says: {row.note}" if row.note else "ok")


def check_answer(server: Server, row: MatrixRow, without: dict[str, Any], with_maps: dict[str, Any]) -> None:
    plain, mapped = pictures(without), pictures(with_maps)
    for number, (first, second) in enumerate(zip(plain, mapped)):
        assert first.tobytes() == second.tobytes(), f"picture {number} is different"
    info = json.loads(with_maps["info"])
    extra = info["extra_generation_params"]
    assert not any("Heatmap notes" in text for text in info["infotexts"]), "notes are for the answer, not for a picture"
    notes = " ".join(extra.get("Attention Heatmap notes", []))
    assert row.note.casefold() in notes.casefold()
    shown = mapped[len(plain) :]
    if row.is_saved_only:
        assert not shown
        return  # such a script hands on what is known of one of its generations, or of none
    if not row.has_maps:
        return
    assert shown, f"no heat maps; notes: {notes}"
    assert len([picture for picture in plain if picture.size == row.expected_size]) >= row.pictures
    if not row.tells_result:
        return
    result = server.get(f"/attention-heatmap/v1/results/{extra['Attention Heatmap result']}")
    assert len(result["images"]) == row.pictures
    for image in result["images"]:
        check_image(server, row, image)
    if row.mode == "wildcards":
        last_words = [image["terms"][-1]["term"] for image in result["images"]]
        assert last_words == ["tree", "sun", "moon", "house"], "each image has its own prompt"


def check_image(server: Server, row: MatrixRow, image: dict[str, Any]) -> None:
    assert (image["width"], image["height"]) == row.expected_size
    assert image["terms"], "no term"
    assert any(term["side"] == "probe" for term in image["terms"]) == ("probe" in row.settings)
    for term in image["terms"]:
        if term["statistics"] is None:
            assert term["reason"], "a term without a map must say why"
            continue
        assert term["statistics"]["strength"] > 0
        for place in term["columns"]:
            table = image["tokens"][term["side"]]
            entry = table["parts"][place["part"]]["schedule"][place["entry"]]
            spans = [entry["columns"][column]["span"] for column in place["columns"]]
            typed = table["prompt"][min(start for start, _ in spans) : max(end for _, end in spans)]
            assert squeezed(typed) == squeezed(term["term"]), (typed, term["term"])
    check_tokens(server, row, image["tokens"])


def check_tokens(server: Server, row: MatrixRow, tables: dict[str, Any]) -> None:
    """Against the WebUI's own chunks; not for emphasis modes and checkpoints that were set for the one generation.

    SD.Next makes none: its tables are compared with its own embeddings while it generates.
    """
    if server.kind.has_pipelines:
        return
    if row.options.get("emphasis") or row.payload.get("hr_checkpoint_name") or row.payload.get("refiner_checkpoint"):
        return
    for side, table in tables.items():
        if side == "probe":
            continue  # it has the columns of its words alone
        for entry in (entry for part in (table or {"parts": []})["parts"] for entry in part["schedule"]):
            chunks = server.get("/bench/tokens", text=entry["text"], negative=str(side == "negative"))[0]
            theirs = [token for chunk in chunks for token in chunk]
            ours = [column["token"] for column in entry["columns"]]
            if "sd3_enable_t5" in row.options:
                half = len(ours) // 2
                assert ours[half:] == server.get("/bench/t5_tokens", text=entry["text"], count=str(half))
                assert any(column["span"] for column in entry["columns"][half:]) or not entry["text"]
                ours = ours[: len(theirs)]
            assert without_padding(ours) == without_padding(theirs), entry["text"]


def without_padding(tokens: list[int]) -> list[int]:
    """SD2 pads with 0 where the table has the end token."""
    return [0 if token == 49407 else token for token in tokens]


def squeezed(text: str) -> str:
    return "".join(text.lower().split())


def test_the_matrix_has_every_sampler_of_the_webui(server: Server) -> None:
    if server.kind is not A1111:
        pytest.skip("others have further ones, of which rows know some")
    assert samplers(server) <= set(SAMPLERS)
