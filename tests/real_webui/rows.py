"""The rows of the matrix, as data: what is generated, and what may differ from an ordinary generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from tests.real_webui.server import to_text

PROMPT = "a red circle and a blue square on a white background"
SAMPLERS = (
    "DPM++ 2M",
    "DPM++ SDE",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun",
    "DPM++ 2S a",
    "DPM++ 3M SDE",
    "Euler a",
    "Euler",
    "LMS",
    "Heun",
    "DPM2",
    "DPM2 a",
    "DPM fast",
    "DPM adaptive",
    "Restart",
    "DDIM",
    "DDIM CFG++",
    "PLMS",
    "UniPC",
    "LCM",
)
FURTHER_SAMPLERS = (
    "HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM", "ER SDE", "Res Multistep", "Kohaku LoNyu Yog", "DPM++ 2s a RF",
    "Euler A2", "Euler Dy", "Euler SMEA Dy", "Euler Negative", "Euler Negative Dy",
)  # fmt: skip
"""Of other WebUIs than AUTOMATIC1111's."""
OPTIMIZATIONS = ("None", "V1", "Doggettx", "InvokeAI", "sub-quadratic", "sdp", "sdp-no-mem")
T5 = {"sd3_enable_t5": True}
SMALL = {"width": 128, "height": 128, "steps": 4, "seed": 1, "cfg_scale": 5, "sampler_name": "DPM++ 2M"}


@dataclass(frozen=True)
class MatrixRow:
    """One generation.

    Attributes:
        pictures: how many it must give, all with maps.
        size: (width, height) that they must have; None takes the payload's.
        options: settings of the WebUI for this generation.
        mode: what the tests' own extension plays, see bench.py.
        fails: whether the generation itself must fail, with and without heat maps.
        has_maps: False where no map can be, but a note must say why.
        note: text that must be among the notes.
        scripts: by how the title of an always-visible script begins, in small letters, values of its controls by their
            number; the row is not run where the host has no such script.
        bare: what of the payload is another, or None, in a generation without what the row is about and without its
            options and scripts, whose picture must be another; None where none is made.
        tells_result: False for a script that hands on what is known of the first of its generations only in part.
        is_saved_only: whether a script of the dropdown works on the pictures, so that no heat map is among them.
    """

    section: str
    name: str
    payload: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = "embedded"
    path: str = "txt2img"
    pictures: int = 1
    size: tuple[int, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    mode: str = ""
    optimization: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    fails: bool = False
    has_maps: bool = True
    note: str = ""
    is_saved_only: bool = False
    tells_result: bool = True
    scripts: dict[str, dict[int, Any]] = field(default_factory=dict)
    bare: dict[str, Any] | None = None

    @property
    def expected_size(self) -> tuple[int, int]:
        return self.size or (self.payload.get("width", 128), self.payload.get("height", 128))

    def full_payload(self) -> dict[str, Any]:
        payload = {"prompt": PROMPT, **SMALL, **self.payload}
        payload["override_settings"] = {"sd_model_checkpoint": self.checkpoint, **self.options}
        return payload


def picture() -> str:
    """Something to begin img2img with."""
    image = Image.radial_gradient("L").resize((128, 128)).convert("RGB")
    return to_text(image)


def mask() -> str:
    image = Image.new("L", (128, 128), 0)
    image.paste(255, (24, 16, 88, 72))
    return to_text(image)


def words(word: str, count: int) -> str:
    return ", ".join(f"{word}" for _ in range(count))


IMG2IMG: dict[str, Any] = {"init_images": [picture()], "denoising_strength": 0.7}
HIRES: dict[str, Any] = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}
FLUX: dict[str, Any] = {"sampler_name": "Euler", "cfg_scale": 1}
LONG = words("a red circle", 24)
VERY_LONG = words("a red circle and a tree", 30)


def _sizes() -> list[MatrixRow]:
    sizes = [(512, 512), (768, 512), (512, 712), (520, 600), (1024, 576)]
    rows = [
        MatrixRow("Sizes", f"{width}x{height}", {"width": width, "height": height, "steps": 3}, "sd1")
        for width, height in sizes
    ]
    return [*rows, MatrixRow("Sizes", "520x600, SDXL", {"width": 520, "height": 600, "steps": 2}, "sdxl")]


def _batches() -> list[MatrixRow]:
    found = []
    for size, count in ((2, 1), (3, 1), (1, 2), (2, 2)):
        payload = {"batch_size": size, "n_iter": count}
        found.append(MatrixRow("Batches", f"size {size}, count {count}", payload, pictures=size * count))
    found.append(
        MatrixRow(
            "Batches", "different prompts per image", {"batch_size": 2, "n_iter": 2}, pictures=4, mode="wildcards"
        )
    )
    return found


PROMPTS: dict[str, dict[str, Any]] = {
    "emphasis": {"prompt": "a (red:1.4) circle and a [blue] ((square))"},
    "nested brackets": {"prompt": "((a red:1.2) circle:1.1) and [[blue] square]"},
    "unbalanced brackets": {"prompt": "a (red circle)) and [a blue square"},
    "BREAK": {"prompt": "a red circle BREAK a blue square"},
    "AND, two parts": {"prompt": "a red circle AND a blue square"},
    "AND, three parts of different length": {"prompt": f"a red circle :1.2 AND {LONG} AND grass :0.5"},
    "editing": {"prompt": "a [red:blue:0.5] [circle::2] and a [square:1]"},
    "alternation": {"prompt": "a [red|blue|green] circle"},
    "more than 75 tokens": {"prompt": f"{LONG}, a blue square"},
    "more than 150 tokens": {"prompt": f"{VERY_LONG}, a blue square"},
    "negative longer": {"negative_prompt": LONG},
    "negative shorter": {"prompt": LONG, "negative_prompt": "ugly"},
    "CJK": {"prompt": "赤い円 and 青い四角"},
    "emoji": {"prompt": "a red circle 🐈 and a blue square 🌞"},
}


def _prompts() -> list[MatrixRow]:
    rows = [MatrixRow("Prompts", name, payload) for name, payload in PROMPTS.items()]
    return [
        *rows,
        MatrixRow("Prompts", "empty prompt", {"prompt": ""}, has_maps=False, note="no words"),
        MatrixRow("Prompts", "styles", {"prompt": "a red circle", "styles": ["tiny style"]}),
        MatrixRow(
            "Prompts",
            "LoRA tag before the term",
            {"prompt": "<lora:tinylora:0.8> a red circle"},
            "sd1",
            bare={"prompt": "a red circle"},
        ),
        MatrixRow("Prompts", "textual inversion", {"prompt": "a tinyword circle"}, "sd1"),
        MatrixRow(
            "Prompts",
            "textual inversion wrapped to the next chunk",
            {"prompt": f"{words('red circle', 24)}, a tree and a tinyword circle"},
            "sd1",
        ),
        MatrixRow(
            "Prompts", "negative prompt too", {"negative_prompt": "an ugly tree"}, settings={"with_negative": True}
        ),
    ]


def _sampling() -> list[MatrixRow]:
    section, both = "Sampling", {"pad_cond_uncond": True, "pad_cond_uncond_v0": False}
    rows = [MatrixRow(section, f"sampler {name}", {"sampler_name": name}) for name in SAMPLERS + FURTHER_SAMPLERS]
    longer = {"negative_prompt": LONG}
    rows += [
        MatrixRow(section, "Flux, sampler DPM++ 2s a RF", {**FLUX, "sampler_name": "DPM++ 2s a RF"}, "flux"),
        MatrixRow(section, "CFG 1", {"cfg_scale": 1}),
        MatrixRow(section, "Skip Early CFG", options={"skip_early_cond": 0.5}),
        MatrixRow(section, "NGMS", {"s_min_uncond": 2, "steps": 8}),
        MatrixRow(section, "NGMS, all steps", {"s_min_uncond": 2}, options={"s_min_uncond_all": True}),
        MatrixRow(section, "pad cond/uncond", longer, options=both),
        MatrixRow(section, "pad cond/uncond v0", longer, options={"pad_cond_uncond_v0": True}),
        MatrixRow(
            section, "batch cond/uncond off", {"batch_size": 2}, pictures=2, options={"batch_cond_uncond": False}
        ),
        MatrixRow(
            section,
            "batch cond/uncond off, AND",
            {"prompt": "a red circle AND a tree", "batch_size": 2},
            pictures=2,
            options={"batch_cond_uncond": False},
        ),
        MatrixRow(
            section,
            "refiner switch (SDXL)",
            {"refiner_checkpoint": "refiner", "refiner_switch_at": 0.5},
            "sdxl",
            bare={"refiner_checkpoint": None},
        ),
        MatrixRow(
            section,
            "refiner switch (SD1 to SD1)",
            {"refiner_checkpoint": "sd1", "refiner_switch_at": 0.5},
            "inpainting",
            bare={"refiner_checkpoint": None},
        ),
        MatrixRow(section, "hires fix, latent", HIRES, size=(192, 192)),
        MatrixRow(section, "hires fix, image upscaler", {**HIRES, "hr_upscaler": "Lanczos"}, size=(192, 192)),
        MatrixRow(
            section, "hires fix, other prompt", {**HIRES, "hr_prompt": "a green tree AND a sun"}, size=(192, 192)
        ),
        MatrixRow(
            section, "hires fix, other checkpoint", {**HIRES, "hr_checkpoint_name": "sd2"}, "sd1", size=(192, 192)
        ),
        MatrixRow(section, "hires fix, first pass", HIRES, size=(192, 192), settings={"passes": "first"}),
        MatrixRow(section, "hires fix, second pass", HIRES, size=(192, 192), settings={"passes": "second"}),
        MatrixRow(section, "clip skip 2", options={"CLIP_stop_at_last_layers": 2}, bare={}),
    ]
    emphasised = {"prompt": "a (red:1.4) circle"}
    modes = ("None", "Ignore", "Original", "No norm")
    return rows + [
        MatrixRow(
            section,
            f"emphasis {mode}",
            emphasised,
            options={"emphasis": mode},
            bare=None if mode == "Original" else {},  # which is how it is anyway
        )
        for mode in modes
    ]


def _attention() -> list[MatrixRow]:
    section = "Attention"
    rows = [MatrixRow(section, name, optimization=name) for name in OPTIMIZATIONS]
    return [
        *rows,
        MatrixRow(section, "back to InvokeAI", optimization="InvokeAI"),
        MatrixRow(section, "hypernetwork", {"prompt": "<hypernet:tinynetwork:1> a red circle"}, "sd1"),
        MatrixRow(
            section, "LoRA", {"prompt": "a red circle <lora:tinylora:1>"}, "sd1", bare={"prompt": "a red circle"}
        ),
        MatrixRow(
            section,
            "LoRA, functional",
            {"prompt": "a red circle <lora:tinylora:1>"},
            "sd1",
            options={"lora_functional": True},
        ),
        MatrixRow(section, "token merging 0.5", options={"token_merging_ratio": 0.5}, bare={}),
    ]


def _refined() -> list[MatrixRow]:
    """Refined maps: there, or a reason why not; each says which."""
    chosen: dict[str, Any] = {"section": "Refined maps", "settings": {"reading": "refined"}}
    there, not_there = "Refined maps are an estimate of each word's region", "There are no refined maps"
    two = {"batch_size": 2}
    merging, hypertile = {"token_merging_ratio": 0.5}, {"hypertile_enable_unet": True}
    large = {"width": 512, "height": 512, "steps": 2}
    return [
        *(
            MatrixRow(name=name, checkpoint=name, payload=two, pictures=2, note=there, **chosen)
            for name in ("sd1", "sd2", "sdxl")
        ),
        MatrixRow(name="hires fix", payload=HIRES, size=(192, 192), note=there, **chosen),
        MatrixRow(
            name="AND, a batch", payload={"prompt": "a red circle AND a tree", **two}, pictures=2, note=there, **chosen
        ),
        MatrixRow(name="editing", payload={"prompt": "a [red:green:0.5] circle"}, note=there, **chosen),
        MatrixRow(name="conditions one by one", options={"batch_cond_uncond": False}, note=there, **chosen),
        MatrixRow(name="inpainting", path="img2img", payload={**IMG2IMG, "mask": mask()}, note=there, **chosen),
        MatrixRow(name="token merging 0.5", options=merging, note=f"{not_there}, the plain ones are shown: ", **chosen),
        MatrixRow(name="hypertile", checkpoint="sd1", payload=large, options=hypertile, note=not_there, **chosen),
        MatrixRow(name="SD3", checkpoint="sd3", payload={"sampler_name": "Euler"}, note="joint attention", **chosen),
    ]


def _models() -> list[MatrixRow]:
    section = "Models"
    edit = {**IMG2IMG, "prompt": "make the circle blue"}
    return [
        *(MatrixRow(section, name, {"batch_size": 2}, name, pictures=2) for name in ("sd1", "sd2", "sdxl", "refiner")),
        MatrixRow(section, "inpainting (9 channels)", {**IMG2IMG, "mask": mask()}, "inpainting", "img2img"),
        MatrixRow(section, "InstructPix2Pix", edit, "edit", "img2img"),
        MatrixRow(section, "InstructPix2Pix, image CFG 1", {**edit, "image_cfg_scale": 1}, "edit", "img2img"),
        MatrixRow(section, "SD3 (joint attention, CLIP columns)", {"sampler_name": "Euler"}, "sd3"),
        MatrixRow(
            section, "SD3, AND and a batch", {"prompt": "a red circle AND a tree", "batch_size": 2}, "sd3", pictures=2
        ),
        MatrixRow(section, "SD3, CLIP and T5 columns", {"sampler_name": "Euler"}, "sd3", options=T5),
        MatrixRow(
            section,
            "SD3 with T5: emphasis, editing, a batch",
            {
                "prompt": "a ((red)) circle, a [tree:house:0.5] BREAK (moon:1.2)",
                "sampler_name": "Euler",
                "batch_size": 2,
            },
            "sd3",
            pictures=2,
            options=T5,
        ),
        MatrixRow(section, "Flux (joint attention)", FLUX, "flux"),
        MatrixRow(
            section,
            "Flux: emphasis, editing, AND, a batch",
            {**FLUX, "prompt": "a ((red)) circle, a [tree:house:0.5] AND a (moon:1.2)", "batch_size": 2},
            "flux",
            pictures=2,
        ),
        MatrixRow(
            section, "Flux, CFG 4 and a negative prompt", {**FLUX, "cfg_scale": 4, "negative_prompt": LONG}, "flux"
        ),
        MatrixRow(section, "Flux, BREAK", {**FLUX, "prompt": "a red circle BREAK a blue square"}, "flux"),
        MatrixRow(
            section,
            "Flux, weights of eight bits: words that are not in the prompt, a batch",
            {**FLUX, "batch_size": 2},
            "flux_fp8",
            pictures=2,
            settings={"probe": "tree, blue square", "reading": "output"},
        ),
        MatrixRow(
            section,
            "Flux, BREAK and editing",
            {**FLUX, "prompt": "a [red:blue:0.5] circle BREAK a square"},
            "flux",
            has_maps=False,
            note="BREAK stands beside prompt editing",
        ),
        MatrixRow(
            section,
            "Flux Kontext, a batch",
            {**IMG2IMG, **FLUX, "denoising_strength": 1.0, "batch_size": 2},
            "kontext",
            "img2img",
            pictures=2,
        ),
        MatrixRow(section, "Flux Kontext, nothing to change", FLUX, "kontext"),
        *(row for name in TRANSFORMERS for row in _transformer(name)),
        *(
            MatrixRow(
                section,
                f"{name}: words that are not in the prompt, AND, a batch",
                {**FLUX, "prompt": "a red circle AND a moon", "batch_size": 2},
                checkpoint,
                pictures=2,
                settings={"probe": "tree, blue square", "reading": "output"},
            )
            for name, checkpoint in (
                ("Flux", "flux"),
                ("Chroma", "chroma"),
                ("Qwen-Image", "qwen_image"),
                ("Flux 2 Klein", "klein"),
            )
        ),
        MatrixRow(
            section,
            "Flux Kontext: words that are not in the prompt",
            {**IMG2IMG, **FLUX, "denoising_strength": 1.0},
            "kontext",
            "img2img",
            settings={"probe": "tree, blue square"},
        ),
        MatrixRow(
            section,
            "Anima: words that are not in the prompt, a batch",
            {**FLUX, "batch_size": 2},
            "anima",
            pictures=2,
            settings={"probe": "tree, blue square"},
        ),
        MatrixRow(
            section,
            "Z-Image: words that are not in the prompt",
            FLUX,
            "z_image",
            settings={"probe": "tree"},
            has_maps=False,
            note="have a stream of their own",
        ),
        MatrixRow(section, "embedded model", {"steps": 12}),
    ]


TRANSFORMERS = {
    "Chroma": "chroma", "Lumina 2": "lumina", "Z-Image": "z_image", "Anima": "anima", "Qwen-Image": "qwen_image",
    "Krea 2": "krea", "Flux 2 Klein": "klein",
}  # fmt: skip
"""Families to their checkpoints, of which each has the same rows."""


def _transformer(name: str) -> list[MatrixRow]:
    checkpoint = TRANSFORMERS[name]
    guided = {**FLUX, "cfg_scale": 4, "negative_prompt": "ugly, a dark room with (many:1.2) chairs"}
    what, prompt = "emphasis, editing, AND, a batch", "a ((red)) circle, a [tree:house:0.5] AND a (moon:1.2)"
    if name == "Krea 2":  # of whose texts the host makes one tensor, so that all must be as long
        what, prompt = "emphasis, a batch", "a ((red)) circle, a (moon:1.2)"
    return [
        MatrixRow("Models", f"{name}, CFG 4 and a negative prompt", guided, checkpoint),
        MatrixRow(
            "Models",
            f"{name}: {what}",
            {**guided, "prompt": prompt, "batch_size": 2},
            checkpoint,
            pictures=2,
            settings={"with_negative": True},
        ),
    ]


def _img2img() -> list[MatrixRow]:
    section, masked = "img2img", {**IMG2IMG, "mask": mask()}
    return [
        MatrixRow(section, "plain", IMG2IMG, path="img2img"),
        MatrixRow(section, "inpaint whole picture", {**masked, "inpaint_full_res": False}, path="img2img"),
        MatrixRow(section, "inpaint only masked", {**masked, "inpaint_full_res": True}, path="img2img"),
        MatrixRow(
            section,
            "masks shown",
            {**masked, "inpaint_full_res": True},
            path="img2img",
            options={"return_mask": True, "return_mask_composite": True},
        ),
        MatrixRow(
            section, "batch size 2, count 2", {**IMG2IMG, "batch_size": 2, "n_iter": 2}, path="img2img", pictures=4
        ),
        MatrixRow(
            section,
            "loopback",
            {**IMG2IMG, "script_name": "loopback", "script_args": [2, 0.5, "Linear", "None"]},
            path="img2img",
            is_saved_only=True,
            note="so that none is left",
        ),
        MatrixRow(
            section,
            "SD upscale",
            {**IMG2IMG, "script_name": "sd upscale", "script_args": [None, 16, "Lanczos", 1.5]},
            path="img2img",
            size=(192, 192),
            is_saved_only=True,
            note="so that none is left",
        ),
        MatrixRow(
            section,
            "outpainting mk2",
            {**IMG2IMG, "script_name": "outpainting mk2", "script_args": ["", 64, 8, ["right"], 1.0, 0.05]},
            path="img2img",
            size=(192, 128),
            is_saved_only=True,
            note="so that none is left",
        ),
    ]


def _company() -> list[MatrixRow]:
    section = "Company"
    xyz = [1, "1,2", [], 0, "", [], 0, "", [], False, False, False, False, False, False, False, 0, False]
    return [
        MatrixRow(
            section,
            "X/Y/Z plot",
            {"script_name": "x/y/z plot", "script_args": xyz},
            is_saved_only=True,
            size=(256, 128),
        ),
        MatrixRow(
            section,
            "prompt matrix",
            {
                "prompt": "a red circle|grass",
                "script_name": "prompt matrix",
                "script_args": [False, False, "positive", "comma", 0],
            },
            is_saved_only=True,
            size=(256, 165),
        ),
        MatrixRow(
            section,
            "prompts from file",
            {"script_name": "prompts from file or textbox", "script_args": [False, False, "start", "a red circle"]},
            tells_result=False,
        ),
        MatrixRow(
            section,
            "nested generation on the finished picture",
            mode="nested generation",
            note="made parts of the picture anew",
        ),
        MatrixRow(section, "attn2.forward replaced", mode="instance forward"),
        MatrixRow(
            section,
            "texts moved from row to row after our callback",
            {"prompt": "a red circle AND a green tree"},
            mode="moved rows",
        ),
        MatrixRow(section, "p.sample wrapped", mode="wrapped sample"),
    ]


def _own() -> list[MatrixRow]:
    """Beside what a host brings along: rows of scripts that others have as extensions, or not at all."""
    section, two = "The host's own", {"prompt": "a red circle AND a tree", "batch_size": 2}
    control = {
        "enabled": True, "module": "None", "model": "tinycontrol", "image": picture(), "weight": 1.0,
        "save_detected_map": False,  # which would stand behind the heat maps
    }  # fmt: skip

    def row(name: str, script: str, values: dict[int, Any], payload: dict[str, Any], **others: Any) -> MatrixRow:
        return MatrixRow(section, name, payload, "sd1", scripts={script: values}, bare={}, **others)

    masked = {**IMG2IMG, "mask": mask()}
    calls = "further calls of the model"
    return [
        row("ControlNet", "controlnet", {0: control}, two, pictures=2),
        row(
            "ControlNet, reference only",
            "controlnet",
            {0: {**control, "module": "reference_only", "model": "None"}},
            {},
        ),
        row("FreeU", "freeu", {0: True}, two, pictures=2),
        row("Dynamic Thresholding", "dynamicthresholding", {0: True}, {**two, "cfg_scale": 12}, pictures=2),
        row("self-attention guidance", "selfattentionguidance", {0: True}, {}, note=calls),
        row("perturbed-attention guidance", "perturbedattentionguidance", {0: True}, {}, note=calls),
        row("Kohya HRFix", "kohya hrfix", {0: True}, {}),
        row("StyleAlign", "stylealign", {0: True}, {"batch_size": 2}, pictures=2),
        row("RescaleCFG", "rescalecfg", {0: 0.7}, {}),
        row("Soft Inpainting", "soft inpainting", {0: True}, masked, path="img2img"),
    ]


def _trouble() -> list[MatrixRow]:
    section = "Trouble"
    return [
        MatrixRow(section, "interrupt at step 3", {"steps": 8}, mode="interrupt"),
        MatrixRow(section, "skip at step 3", {"steps": 8}, mode="skip"),
        MatrixRow(section, "exception in the UNet", mode="error in the UNet", fails=True),
        MatrixRow(section, "exception in our hook", mode="error in our hook", has_maps=False, note="our hook fails"),
        MatrixRow(
            section,
            "out of memory in our hook",
            mode="out of memory in our hook",
            has_maps=False,
            note="our hook fails",
        ),
        MatrixRow(section, "model switched between generations", checkpoint="sdxl"),
        MatrixRow(
            section, "a setting that does not fit", settings={"alpha": 7}, has_maps=False, note="expected 0 to 1"
        ),
        MatrixRow(
            section,
            "old emphasis implementation",
            options={"use_old_emphasis_implementation": True},
            has_maps=False,
            note="old emphasis",
        ),
        MatrixRow(section, "a term that is not there", settings={"terms": "red, unicorn"}, note="'unicorn' is not in"),
    ]


ROWS = [
    *_sizes(),
    *_batches(),
    *_prompts(),
    *_sampling(),
    *_attention(),
    *_refined(),
    *_models(),
    *_img2img(),
    *_company(),
    *_own(),
    *_trouble(),
]
