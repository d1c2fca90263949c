"""The extension through the WebUI's HTTP API: what is shown, what is saved, what is told, and who may read it."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import daam
from daam.results.settings import SETTINGS
from tests.real_webui.rows import HIRES, SMALL
from tests.real_webui.server import ApiError, Server, pictures
from tests.real_webui.webuis import BATCHING, INFOTEXT, USERS

NAME = "Attention Heatmap"
PAYLOAD: dict[str, Any] = {"prompt": "a red circle and a blue square", **SMALL}


def generate(server: Server, payload: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    values = {"enabled": True, **settings}
    arguments = [values.get(setting.name, setting.default) for setting in SETTINGS]
    scripts = {NAME: {"args": arguments}}
    answer: dict[str, Any] = server.post(
        "/sdapi/v1/txt2img", {**PAYLOAD, **(payload or {}), "alwayson_scripts": scripts}
    )
    return answer


def extra(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer["info"])["extra_generation_params"]
    return found


def saved(server: Server) -> set[Path]:
    return {path for folder in server.data.glob("output*") for path in folder.rglob("*") if path.is_file()}


def test_script_info_and_our_route_list_the_arguments_in_one_order(server: Server) -> None:
    scripts = [script for script in server.get("/sdapi/v1/script-info") if script["name"] == NAME.lower()]
    always = [script for script in scripts if script["is_alwayson"]]
    assert {script["is_img2img"] for script in always} == {True, False}
    listed = server.get("/attention-heatmap/v1/arguments")
    for script in always:
        assert [argument["label"] for argument in script["args"]] == [control["label"] for control in listed]
        assert [argument["value"] for argument in script["args"]] == [control["default"] for control in listed]


def test_the_words_of_a_typed_prompt_are_read_with_how_they_can_be_edited(server: Server) -> None:
    prompt = "a (red:1.2) circle <lora:none:1>, a [square|star]"
    answer = server.post("/attention-heatmap/v1/frames", {"prompt": prompt})
    assert answer["prompt"] == prompt and answer["terms"] == ["a", "red", "circle", "square", "star"]
    assert [word["text"] for word in answer["words"]] == ["a", "red", "circle", "a", "square", "star"]
    assert [word["span"] for word in answer["words"]] == [frame["span"] for frame in answer["frames"]["words"]]
    negative = server.post("/attention-heatmap/v1/frames", {"prompt": "a AND b", "negative": True})
    assert negative["terms"] == ["a", "and", "b"]
    with pytest.raises(ApiError, match="no number"):
        server.post("/attention-heatmap/v1/frames", {"prompt": "(a:..)"})


def test_the_picture_comes_first_then_the_grid(server: Server) -> None:
    plain = pictures(server.post("/sdapi/v1/txt2img", PAYLOAD))
    mapped = pictures(generate(server))
    assert len(plain) == 1 and len(mapped) == 2
    assert mapped[0].tobytes() == plain[0].tobytes() and mapped[1].width > mapped[0].width


def test_without_the_grid_there_is_a_picture_for_each_term(server: Server) -> None:
    shown = pictures(generate(server, terms="red, circle", use_grid=False, hide_caption=True))
    assert [image.size for image in shown] == [(128, 128)] * 3


def test_alpha_0_is_the_picture_and_alpha_1_the_map_alone(server: Server) -> None:
    settings = {"terms": "red", "use_grid": False, "hide_caption": True}
    picture, untouched = pictures(generate(server, alpha=0.0, **settings))
    assert untouched.tobytes() == picture.tobytes()
    _, first = pictures(generate(server, alpha=1.0, colormap="gray", **settings))
    assert all(red == green == blue for red, green, blue in first.getdata())


def test_saved_files_follow_the_webuis_settings(server: Server) -> None:
    before = saved(server)
    generate(server, {"save_images": True})
    new = saved(server) - before
    by_folder = {path.relative_to(server.data).parts[1]: path for path in new}
    assert len(new) == 2 and tuple(sorted(by_folder)) == server.kind.folders
    grid = by_folder[server.kind.folders[0]]
    infotext = Image.open(grid).info["parameters"]
    assert infotext.startswith(PAYLOAD["prompt"]) and f"{NAME}: True" in infotext


def test_single_overlays_lie_beside_the_picture_under_its_name(server: Server) -> None:
    before = saved(server)
    generate(server, {"save_images": True}, terms="red, blue square, ../x", use_grid=False)
    names = sorted(path.name for path in saved(server) - before)
    stem = next(name for name in names if "heatmap" not in name).removesuffix(".png")
    assert names == sorted(f"{stem}{end}.png" for end in ("", "-heatmap-red", "-heatmap-blue square", "-heatmap-x"))
    assert len({path.parent for path in saved(server) - before}) == 1


@pytest.mark.parametrize(
    ("payload", "settings", "count"),
    [
        ({"save_images": False}, {}, 0),
        ({"save_images": True}, {"no_saving": True}, 1),
        ({"save_images": True, "override_settings": {"grid_save": False}}, {}, 1),
        ({"save_images": True, "override_settings": {"samples_save": False}}, {}, 1),
        ({"save_images": True, "override_settings": {"samples_save": False}}, {"use_grid": False}, 0),
        ({"save_images": True}, {"hide_images": True}, 2),
    ],
)
def test_nothing_is_saved_that_the_settings_forbid(
    server: Server, payload: dict[str, Any], settings: dict[str, Any], count: int
) -> None:
    before = saved(server)
    shown = pictures(generate(server, payload, **settings))
    assert len(saved(server) - before) == count
    assert (len(shown) == 1) == bool(settings.get("hide_images"))


def test_the_grids_format_is_the_webuis(server: Server) -> None:
    before = saved(server)
    generate(server, {"save_images": True, "override_settings": {"grid_format": "jpg"}})
    assert {path.suffix for path in saved(server) - before} == {".png", ".jpg"}


def test_images_are_not_sent_where_the_caller_does_not_want_them(server: Server) -> None:
    assert generate(server, {"send_images": False})["images"] == []


def test_hidden_grids_say_so(server: Server) -> None:
    answer = generate(server, {"override_settings": {"return_grid": False}})
    assert len(answer["images"]) == 1
    (note,) = extra(answer)["Attention Heatmap notes"]
    assert re.search("Settings → .+ → Show grids? in (gallery|results)", note, re.IGNORECASE)


def test_a_record_beside_the_picture_draws_the_same_maps_again(server: Server) -> None:
    before = saved(server)
    settings = {"attention_heatmap_keep_records": True}
    answer = generate(server, {"save_images": True, "override_settings": settings})
    file = next(path for path in saved(server) - before if path.suffix == ".safetensors")
    record = daam.load_record(file)
    assert record.pictures[0].convert("RGB").tobytes() == pictures(answer)[0].tobytes()
    numbers = daam.term_statistics(daam.HeatMaps(record.traces[0]), ["red"])["red"]
    result = server.get(f"/attention-heatmap/v1/results/{extra(answer)['Attention Heatmap result']}")
    told = next(term for term in result["images"][0]["terms"] if term["term"] == "red")
    assert told["statistics"]["strength"] == pytest.approx(numbers["strength"])


def test_an_infotext_switches_the_panel_on_with_its_settings(server: Server) -> None:
    server.needs(INFOTEXT)
    infotext = f"{PAYLOAD['prompt']}\nSteps: 4, {NAME}: True, Heatmap terms: red, Heatmap hidden: True"
    payload = {**PAYLOAD, "infotext": infotext}
    answer = server.post("/sdapi/v1/txt2img", payload)
    assert len(answer["images"]) == 1
    result = server.get(f"/attention-heatmap/v1/results/{extra(answer)['Attention Heatmap result']}")
    assert [term["term"] for term in result["images"][0]["terms"]] == ["red"]


def test_infotexts_hold_what_is_not_the_default(server: Server) -> None:
    answer = generate(server, alpha=0.75, colormap="viridis")
    found = {key: value for key, value in extra(answer).items() if key.startswith(("Heatmap", NAME))}
    assert found.pop("Attention Heatmap result")
    assert found == {NAME: "True", "Heatmap alpha": "0.75", "Heatmap colormap": "viridis"}
    assert "result" not in json.loads(answer["info"])["infotexts"][0]


def test_probe_words_have_maps_in_every_pass(server: Server) -> None:
    answer = generate(server, HIRES, terms="red", probe="dog, red circle")
    result = server.get(f"/attention-heatmap/v1/results/{extra(answer)['Attention Heatmap result']}")
    probes = [term for term in result["images"][0]["terms"] if term["side"] == "probe"]
    assert [term["term"] for term in probes] == ["dog", "red circle"]
    assert all(term["statistics"]["strength"] > 0 for term in probes)


@pytest.mark.parametrize(
    ("payload", "calls"),
    [
        ({}, 4),
        ({"sampler_name": "Heun"}, 7),
        ({"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.75}, 8),
        ({"override_settings": {"batch_cond_uncond": False}, "prompt": "a circle AND a tree"}, 4),
    ],
    ids=["plain", "Heun", "hires", "one row at a time"],
)
def test_kept_steps_are_counted_by_the_sampler(server: Server, payload: dict[str, Any], calls: int) -> None:
    if "override_settings" in payload:
        server.needs(BATCHING)
    answer = generate(server, payload, keep_steps=True)
    route = f"/attention-heatmap/v1/results/{extra(answer)['Attention Heatmap result']}"
    data = server.post(f"{route}/viewer/0")
    assert data["steps"] == calls
    chips = data["prompts"][0]["chips"]
    assert chips and all(len(chip["step_tiles"]) == calls for chip in chips)
    strengths = np.array([[tile["max"] for tile in chip["step_tiles"]] for chip in chips])
    assert (strengths.sum(axis=0) > 0).all(), "some word has attention in every step"
    report = urllib.request.urlopen(f"{server.url}{route}/report").read().decode()
    assert "attentionHeatmap.viewer.mount" in report


def test_an_unknown_result_is_not_found(server: Server) -> None:
    with pytest.raises(ApiError, match="404"):
        server.get("/attention-heatmap/v1/results/..%2F..%2Fconfig.json")


def test_axes_of_xyz_plot_show_the_heat_maps_in_the_cells(server: Server) -> None:
    script = next(each for each in server.get("/sdapi/v1/script-info") if each["name"] == server.kind.plot_script)
    choices = script["args"][0]["choices"]
    alpha, scale = (choices.index(f"[{NAME}] {label}") for label in ("Heatmap blend alpha", "Scale"))
    axes = (alpha, "0.2,0.8", []), (scale, "", ["each", "share"])
    arguments = server.kind.plot_arguments(*axes, include_lone_images=True, include_grid=True)
    answer = server.post(
        "/sdapi/v1/txt2img", {**PAYLOAD, "script_name": server.kind.plot_script, "script_args": arguments}
    )
    shown = pictures(answer)
    cells = {image.tobytes() for image in shown[1:]}
    assert len(shown) == 5 and len(cells) == 4 and all(image.width > 128 for image in shown)
    info = json.loads(answer["info"])
    name = info["extra_generation_params"]["Attention Heatmap result"]
    found = [
        server.post(f"/attention-heatmap/v1/results/{name}/viewer/{number}", {"infotext": infotext})
        for number, infotext in enumerate(info["infotexts"][1:])
    ]
    looks = [(each["settings"]["opacity"], each["settings"]["scale"]) for each in found]
    assert looks == [(0.2, "each"), (0.8, "each"), (0.2, "share"), (0.8, "share")], "each cell has its own viewer"
    assert len({each["result"]["id"] for each in found}) == 4
    assert server.post(f"/attention-heatmap/v1/results/{name}/viewer/7", {"infotext": "another"}) is None


def test_every_scale_makes_a_cell_of_its_own(server: Server) -> None:
    """Of several terms; a single one fills the shared scale as it fills its own."""
    script = next(each for each in server.get("/sdapi/v1/script-info") if each["name"] == server.kind.plot_script)
    scale = script["args"][0]["choices"].index(f"[{NAME}] Scale")
    arguments = server.kind.plot_arguments(
        (scale, "", ["shared", "each", "share"]), include_lone_images=True, include_grid=True
    )
    panel = {NAME: {"args": [True, "red, circle, a"]}}
    payload = {**PAYLOAD, "script_name": server.kind.plot_script, "script_args": arguments, "alwayson_scripts": panel}
    assert len({image.tobytes() for image in pictures(server.post("/sdapi/v1/txt2img", payload))[1:]}) == 3


def test_two_callers_at_once_get_their_own_maps(server: Server) -> None:
    answers: dict[str, dict[str, Any]] = {}

    def ask(prompt: str) -> None:
        answers[prompt] = generate(server, {"prompt": prompt})

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in ("a green tree", "a blue star")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for prompt, answer in answers.items():
        result = server.get(f"/attention-heatmap/v1/results/{extra(answer)['Attention Heatmap result']}")
        assert [term["term"] for term in result["images"][0]["terms"]] == prompt.split()


def test_fifty_generations_leave_memory_flat(server: Server) -> None:
    small = {"width": 64, "height": 64, "steps": 2}
    for _ in range(10):  # fills the store of the last results
        generate(server, small)
    before = server.get("/bench/state")
    for _ in range(50):
        generate(server, small)
    after = server.get("/bench/state")
    assert after["tensors"] <= before["tensors"] + 20
    assert after["tensor_bytes"] <= before["tensor_bytes"] * 1.01
    assert after["rss"] <= before["rss"] + 40 * 2**20


def test_without_credentials_the_routes_answer_401(server: Server, tmp_path: Path) -> None:
    server.needs(USERS)
    with server.beside(tmp_path / "data", "--api-auth", "api:secret", "--gradio-auth", "me:word") as closed:
        for route in ("arguments", "results/x"):
            assert status(closed, route) == 401
            assert status(closed, route, "api:wrong") == 401
            assert status(closed, route, "me:word") == 401, "the page's users are no users of the API"
            assert status(closed, route, "api:secret") in (200, 404)
            assert status(closed, route, cookie=log_in(closed, "me", "word")) in (200, 404)
            assert status(closed, route, cookie="access-token=made-up") == 401


def log_in(server: Server, user: str, password: str) -> str:
    """The cookie that the page gets."""
    form = urllib.parse.urlencode({"username": user, "password": password}).encode()
    with urllib.request.urlopen(f"{server.url}/login", form) as answer:
        cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
    return "; ".join(cookie.partition(";")[0] for cookie in cookies)


def status(server: Server, route: str, credentials: str = "", cookie: str = "") -> int:
    request = urllib.request.Request(f"{server.url}/attention-heatmap/v1/{route}")
    if cookie:
        request.add_header("Cookie", cookie)
    if credentials:
        request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


STUDY = {**PAYLOAD, "script_name": f"{NAME}: study"}


def test_a_study_gives_its_grid_and_a_picture_for_each_variant(server: Server) -> None:
    plain = pictures(server.post("/sdapi/v1/txt2img", PAYLOAD))[0]
    answer = server.post("/sdapi/v1/txt2img", {**STUDY, "script_args": ["circle", "0.5, 1.5", True]})
    shown = pictures(answer)
    assert len(shown) == 5 and shown[0].width > 128
    assert shown[1].tobytes() == plain.tobytes(), "the first variant is the unmodified prompt"
    prompts = [text.splitlines()[0] for text in json.loads(answer["info"])["infotexts"][1:]]
    assert prompts == [
        "a red circle and a blue square",
        "a red (circle:0.5) and a blue square",
        "a red (circle:1.5) and a blue square",
        "a red and a blue square",
    ]
    assert ["Heatmap study: " + each in text for each, text in zip(
        ("unmodified", "circle × 0.5", "circle × 1.5", "without circle"), json.loads(answer["info"])["infotexts"][1:]
    )] == [True] * 4  # fmt: skip
    assert "Heatmap hidden" not in json.loads(answer["info"])["infotexts"][1], "pasted, it would hide what comes next"
    name = json.loads(answer["info"])["extra_generation_params"]["Attention Heatmap result"]
    last = server.post(f"/attention-heatmap/v1/results/{name}/viewer/3")
    assert last["prompts"][0]["prompt"] == prompts[3], "the viewer opens on each variant"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unicorn", "0.5", True], "'unicorn' is not in the prompt"),
        (["circle", "much", True], "expected numbers"),
        (["circle", "", False], "got neither"),
    ],
)
def test_a_study_refuses_nonsense_before_it_generates(server: Server, arguments: list[Any], message: str) -> None:
    answer = server.post("/sdapi/v1/txt2img", {**STUDY, "script_args": arguments})
    (said,) = json.loads(answer["info"])["extra_generation_params"]["Attention Heatmap notes"]
    assert answer["images"] == [] and message in said


def test_an_interrupted_study_keeps_what_is_there(server: Server) -> None:
    answers: list[dict[str, Any]] = []
    payload = {**STUDY, "steps": 12, "script_args": ["", "0.5, 0.6, 0.7, 0.8", True]}
    thread = threading.Thread(target=lambda: answers.append(server.post("/sdapi/v1/txt2img", payload)))
    thread.start()
    for _ in range(1000):
        if " 4 of " in (server.get("/sdapi/v1/progress")["textinfo"] or ""):  # three are through
            break
        time.sleep(0.3)  # SD.Next limits how often it is asked
    server.post("/sdapi/v1/interrupt")
    thread.join()
    assert 3 <= len(answers[0]["images"]) < 26
