"""Generations beside other people's extensions, as data: what they are asked for, and what the heat maps then are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.real_webui.rows import HIRES, IMG2IMG, PROMPT, SMALL, picture


@dataclass(frozen=True)
class Seen:
    """Where the recorded attention of one text lies; see `Truth.error` of the tests' own extension.

    Attributes:
        entry: of the schedule.
        calls: the first of the model's calls, and the distance to the next; the end, where it is not the last.
        run: of each layer in a call; -1 is the last.
        row: of the run.
    """

    row: int = 0
    image: int = 0
    side: str = "positive"
    part: int = 0
    entry: int = 0
    calls: tuple[int, ...] = (0, 1)
    run: int = -1


@dataclass(frozen=True)
class ExtensionRow:
    """One generation beside an extension.

    Attributes:
        repository: on GitHub; the last part of its name is the folder in EXTENSIONS_DIR.
        scripts: title in small letters to values of its controls by their number; "LIKED" stands for a picture's file.
        seen: where each text's attention lies; empty where there must be no map.
        note: text that must be among the notes.
        pictures: how many are generated.
        is_saved_only: whether a script of the dropdown works on the pictures, so that no heat map is among them.
        checkpoint: the embedded model has fewer blocks than some extensions count on.
    """

    name: str
    repository: str
    scripts: dict[str, dict[int, Any]] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    path: str = "txt2img"
    seen: tuple[Seen, ...] = (Seen(),)
    note: str = ""
    pictures: int = 1
    is_saved_only: bool = False
    checkpoint: str = "embedded"

    @property
    def folder(self) -> str:
        return self.repository.split("/")[1]

    def full_payload(self) -> dict[str, Any]:
        payload = {"prompt": PROMPT, **SMALL, **self.payload}
        payload["override_settings"] = {"sd_model_checkpoint": self.checkpoint, **self.options}
        return payload


NEGPIP, REGIONAL = "hako-mikan/sd-webui-negpip", "hako-mikan/sd-webui-regional-prompter"
INCANTATIONS, FUSION = "v0xie/sd-webui-incantations", "ljleb/prompt-fusion-extension"
NEUTRAL, ADETAILER = "ljleb/sd-webui-neutral-prompt", "Bing-su/adetailer"
CONTROLNET, FABRIC = "Mikubill/sd-webui-controlnet", "dvruette/sd-webui-fabric"
TWO = {"prompt": "a red circle AND a green tree"}
UGLY = {"negative_prompt": "ugly tree"}
DETECTOR = {"ad_model": "mediapipe_face_full", "ad_prompt": "a blue face"}
REGIONS = "its own part of the prompt (Regional Prompter"
OWN_WAY = "reads prompts in its own way"
VARIANTS = {"dp_ignore_whitespace": False, "dp_write_raw_template": False, "dp_write_prompts_to_file": False,
            "dp_parser_variant_start": "{", "dp_parser_variant_end": "}", "dp_parser_wildcard_wrap": "__",
            "dp_limit_jinja_prompts": False, "dp_auto_purge_cache": False, "dp_wildcard_manager_no_dedupe": False,
            "dp_wildcard_manager_no_sort": False, "dp_wildcard_manager_shuffle": False,
            "dp_magicprompt_default_model": "", "dp_magicprompt_batch_size": 1}  # fmt: skip
"""Settings of Dynamic Prompts, which it adds too late for a WebUI that was started without its page."""
UPSCALE = {"script_name": "ultimate sd upscale",
           "script_args": ["", 128, 128, 4, 16, 64, 0.35, 16, 0, False, 0, False, 4, 0, 2, 128, 128, 1.5]}  # fmt: skip
"""Once and a half its size, in tiles of 128."""
LATENT = {0: True, 11: "Latent"}
FUSED = {"prompt_fusion_enabled": True}


def _regional() -> list[ExtensionRow]:
    batch = tuple(Seen(image, image, part=part, calls=(part, 3)) for image in range(2) for part in range(2))
    attention = {"prompt": "a red circle BREAK a green tree"}
    return [
        ExtensionRow("Latent mode", REGIONAL, {"regional prompter": LATENT}, TWO,
                     seen=tuple(Seen(part=part, calls=(part, 3)) for part in range(2))),
        ExtensionRow("Latent mode, batch of two", REGIONAL, {"regional prompter": LATENT}, {**TWO, "batch_size": 2},
                     seen=batch, pictures=2),
        ExtensionRow("Attention mode", REGIONAL, {"regional prompter": {0: True}}, attention, seen=(), note=REGIONS),
        ExtensionRow("Prompt mode", REGIONAL, {"regional prompter": {0: True, 2: "Prompt"}},
                     {"prompt": "a scene BREAK a red circle circle"}, seen=(), note=REGIONS),
    ]  # fmt: skip


def _guidance() -> list[ExtensionRow]:
    def incantations(name: str, values: dict[int, Any], **others: Any) -> ExtensionRow:
        return ExtensionRow(name, INCANTATIONS, {"incantations": values}, **others)

    return [
        incantations("perturbed-attention guidance", {12: True, 13: 3}, seen=(Seen(calls=(0, 2)),),
                     note="4 further calls of the model"),
        incantations("perturbed-attention guidance, NGMS", {12: True, 13: 3}, payload={"s_min_uncond": 2, "steps": 8},
                     seen=(), note="another extension calls the model on its own"),
        incantations("perturbed-attention guidance, batch of two with AND", {12: True, 13: 3},
                     payload={**TWO, "batch_size": 2}, pictures=2, note="4 further calls of the model",
                     seen=tuple(Seen(2 * number + part, number, part=part, calls=(0, 2))
                                for number in range(2) for part in range(2))),
        ExtensionRow("self-attention guidance", "ashen-sensored/sd_webui_SAG", {"self attention guidance": {0: True}},
                     seen=(Seen(calls=(0, 2)),), note="4 further calls of the model", checkpoint="deep"),
        ExtensionRow("FreeU", "ljleb/sd-webui-freeu", {"freeu": {0: True}}),
        ExtensionRow("tiles", "pkuliyi2015/multidiffusion-upscaler-for-automatic1111",
                     {"tiled diffusion": {0: True, 6: 16, 7: 16, 8: 8}}, {"width": 256}, seen=(),
                     note="works in tiles"),
        ExtensionRow("one region over the whole picture", "pkuliyi2015/multidiffusion-upscaler-for-automatic1111",
                     {"tiled diffusion": {0: True, 18: True, 21: True, 22: 0.0, 23: 0.0, 24: 1.0, 25: 1.0,
                                          26: "a green tree"}}, seen=(),
                     note="a text that is not the prompt"),
        incantations("SEG", {0: True}),
        incantations("S-CFG", {4: True}),
        incantations("T2I-Zero", {21: True, 22: True, 27: "1"}),
    ]  # fmt: skip


def _prompts() -> list[ExtensionRow]:
    return [
        ExtensionRow("negative weight", NEGPIP, {"negpip": {0: True}},
                     {"prompt": "a red circle, (green grass:-1.2)", **UGLY},
                     seen=(Seen(run=0), Seen(run=1, side="negative"))),
        ExtensionRow("negative weight, batch of two", NEGPIP, {"negpip": {0: True}},
                     {"prompt": "a red circle, (green grass:-1.2)", **UGLY, "batch_size": 2}, pictures=2,
                     seen=(Seen(0, 0, run=0), Seen(1, 1, run=0), Seen(1, 1, run=1, side="negative"))),
        ExtensionRow("installed, ordinary prompt", FUSION, options=FUSED),
        ExtensionRow("editing that the WebUI knows too", FUSION, {}, {"prompt": "a [red:blue:0.5] circle"}, FUSED,
                     seen=(Seen(calls=(0, 1, 3)), Seen(entry=1, calls=(3, 1)))),
        ExtensionRow("interpolated words", FUSION, {}, {"prompt": "a [red:blue:0,4] circle"}, FUSED, seen=(),
                     note=f"{OWN_WAY}: from "),
        ExtensionRow("interpolated weight", FUSION, {}, {"prompt": "a red (circle:0.5,1.5)"}, FUSED, seen=(),
                     note=f"{OWN_WAY}: from "),
        ExtensionRow("installed, ordinary AND", NEUTRAL, {}, TWO, seen=(Seen(0), Seen(1, part=1))),
        ExtensionRow("AND_PERP", NEUTRAL, {}, {"prompt": "a red circle AND_PERP a green tree"}, seen=(),
                     note="in 2 parts, by its own rules it has 1"),
        ExtensionRow("alternatives", "adieyal/sd-dynamic-prompts", {}, {"prompt": "a {red|blue} circle"}),
        ExtensionRow("target words", "hnmr293/sd-webui-cutoff", {"cutoff": {0: True, 1: "red, blue"}}),
        ExtensionRow("two regions", "opparco/stable-diffusion-webui-two-shot",
                     {"latent couple extension": {0: True, 1: "1:2,1:2", 2: "0:0,0:1", 3: "0.8,0.8"}}, TWO,
                     seen=(Seen(0), Seen(1, part=1))),
    ]  # fmt: skip


def _passes() -> list[ExtensionRow]:
    reference = {"enabled": True, "module": "reference_only", "model": "None", "image": picture(), "weight": 1.0}
    detector = {"adetailer": {0: True, 2: DETECTOR}}
    return [
        ExtensionRow("second pass", ADETAILER, detector, note="made parts of the picture anew"),
        ExtensionRow("Skip img2img", ADETAILER, {"adetailer": {0: True, 1: True, 2: DETECTOR}}, IMG2IMG, path="img2img",
                     seen=(), note="'Skip img2img' leaves the generation out"),
        ExtensionRow("upscaled in tiles", "Coyote-A/ultimate-upscale-for-automatic1111", {}, {**IMG2IMG, **UPSCALE},
                     path="img2img", seen=(), is_saved_only=True, note="so that none is left"),
        ExtensionRow("reference only", CONTROLNET, {"controlnet": {0: reference}}, checkpoint="deep"),
        ExtensionRow("a liked picture", FABRIC, {"fabric": {0: ["LIKED"], 2: True}}, UGLY,
                     seen=(Seen(), Seen(1, side="negative"))),
        ExtensionRow("a liked picture, token merging", FABRIC, {"fabric": {0: ["LIKED"], 2: True, 9: True, 12: 1}},
                     seen=(), note="does not attend at the size"),
        ExtensionRow("deep shrink", "wcde/sd-webui-kohya-hiresfix", {"kohya hires.fix": {0: True, 4: 0.5, 5: 0.5}}),
        ExtensionRow("hires fix", "mcmonkeyprojects/sd-dynamic-thresholding",
                     {"dynamic thresholding (cfg scale fix)": {0: True}}, {**HIRES, "prompt": "a red circle"},
                     seen=(Seen(part=0, calls=(0, 1)),)),
    ]  # fmt: skip


ROWS = [*_prompts(), *_regional(), *_guidance(), *_passes()]
REPOSITORIES = sorted({row.repository for row in ROWS})
