"""The WebUIs that the tests of this folder can run in: how each is started, and what it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FLAGS = (
    "--skip-prepare-environment", "--skip-torch-cuda-test", "--skip-python-version-check", "--no-hashing", "--api",
    "--attention-heatmap-results", "8",  # so that memory is flat after a few generations
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "live_previews_enable": False, "samples_save": True, "grid_save": True, "grid_format": "png", "return_grid": True,
    "CLIP_stop_at_last_layers": 1, "emphasis": "Original", "token_merging_ratio": 0.0, "return_mask": False,
    "return_mask_composite": False, "attention_heatmap_keep_records": False, "save_to_dirs": True,
    "samples_filename_pattern": "", "save_images_replace_action": "Replace", "s_min_uncond_all": False,
}  # fmt: skip
"""The WebUI puts back what a request overrides only where it stands in its settings file."""


PLOT = (
    "draw_legend", "include_lone_images", "include_sub_grids", "no_fixed_seeds", "vary_seeds_x", "vary_seeds_y",
    "vary_seeds_z", "margin_size", "csv_mode",
)  # fmt: skip


INFOTEXT, BATCHING, AND = "an infotext in a request", "one row at a time", "AND"
USERS = "users of the API beside those of the page"
PAGE = "a page laid out as AUTOMATIC1111's"
TRANSFORMERS = ("flux", "chroma", "lumina", "z_image", "kontext", "anima", "qwen_image", "krea", "klein", "flux_fp8")
"""Checkpoints of families that AUTOMATIC1111's WebUI does not know."""


@dataclass(frozen=True)
class Webui:
    """One WebUI.

    Attributes:
        variable: the environment's that names its folder, with its Python environment in venv/ or beside it.
        common: flags to start it with.
        flags: further ones.
        settings: besides SETTINGS.
        checkpoints: what it has of those that rows name: one of its own for each.
        has_pipelines: whether it samples with pipelines of diffusers, so that models are folders.
        has_small_encoders: whether its CLIP-L and its VAE can be made small too.
        ready: what its log says when it can be used.
        payload: what each request to generate must have besides.
        absent: by a row's name, or by its section, why it is not run.
        changed: by a row's name, what of it is another here; its payload is added to the row's.
        lacks: what tests of the API and the page ask for, and why it is not there.
        folders: under which it saves grids and pictures of txt2img.
        latent_upscaler: by which hires fix enlarges latents, or what comes nearest.
        plot_script: what it calls the script that makes a grid of settings.
        plot: names of the arguments of X/Y/Z plot behind those of its axes, in their order.
    """

    name: str
    variable: str
    common: tuple[str, ...] = FLAGS
    flags: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    has_pipelines: bool = False
    has_small_encoders: bool = True
    ready: str = "Startup time"
    payload: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, str] = ("txt2img-grids", "txt2img-images")
    latent_upscaler: str = "Latent"
    plot_script: str = "x/y/z plot"
    plot: tuple[str, ...] = PLOT

    @property
    def is_forge(self) -> bool:
        return bool(self.checkpoints) and not self.has_pipelines

    @property
    def has_groups(self) -> bool:
        """A call's rows are the negative prompts, then the positive ones."""
        return self.is_forge or self.has_pipelines

    def checkpoint(self, name: str) -> str | None:
        """What it calls a checkpoint; None where it cannot load one of that kind here."""
        if self.checkpoints:
            return self.checkpoints.get(name)
        return None if name in TRANSFORMERS else name

    def plot_arguments(self, *axes: tuple[int, str, list[str]], **given: Any) -> list[Any]:
        """What X/Y/Z plot is called with.

        Args:
            axes: up to three, each the number of its type, its values as text, and those chosen from a list.
        """
        every = [*axes, *[(0, "", [])] * (3 - len(axes))]
        return [value for axis in every for value in axis] + [given.get(name, 0) for name in self.plot]


_SMALL = {"embedded": "sd1", "sd1": "sd1", "inpainting": "inpainting"}
_NO_SETTING = "the host has no such setting, or does not follow it"
_NO_SCRIPT = "the host has no such script"
_NO_INFOTEXT = "the host itself fails to read an infotext in a request"
_ABSENT = {
    **dict.fromkeys(("pad cond/uncond", "pad cond/uncond v0", "conditions one by one"), _NO_SETTING),
    **dict.fromkeys(
        ("batch cond/uncond off", "batch cond/uncond off, AND", "old emphasis implementation"), _NO_SETTING
    ),
    **dict.fromkeys(("None", "V1", "Doggettx", "InvokeAI", "sub-quadratic", "sdp", "sdp-no-mem"), _NO_SETTING),
    **dict.fromkeys(("back to InvokeAI", "LoRA, functional", "hypertile"), _NO_SETTING),
    "hypernetwork": "the host has none",
}
_NO_SD2 = {"hires fix, other checkpoint": "SD 2 is not loaded here"}
"""reForge builds the whole UNet to tell how an SD 2 predicts, where no configuration lies beside it."""
_ONE_FAMILY = {**_NO_SD2, "refiner switch (SDXL)": "no small refiner is made for this host yet"}
_TOO_LARGE = dict.fromkeys(
    ("768x512", "1024x576", "520x600, SDXL"), "takes minutes on a CPU with the smallest UNet that the host loads"
)
A1111 = Webui(
    "AUTOMATIC1111's WebUI 1.10.1", "WEBUI_DIR",
    flags=(
        "--skip-version-check", "--use-cpu", "all", "--precision", "full", "--no-half", "--no-download-sd-model",
        "--do-not-download-clip",
    ),
    settings={
        "skip_early_cond": 0.0, "pad_cond_uncond": False, "pad_cond_uncond_v0": False, "batch_cond_uncond": True,
        "use_old_emphasis_implementation": False, "lora_functional": False, "sd3_enable_t5": False,
        "hypertile_enable_unet": False,
    },
    ready="Model loaded in",
)  # fmt: skip
_REFINER: dict[str, Any] = {
    "refiner switch (SD1 to SD1)": {"checkpoint": "sd1", "payload": {"refiner_checkpoint": "other"}}
}
_HIRES = {"hr_additional_modules": ["Use same choices"]}
_MOVED = {"has_maps": False, "note": "moves what conditions"}
FORGE_NEO = Webui(
    "Forge Neo 2.26", "FORGE_NEO_DIR", flags=("--cpu",),
    settings={"sd_model_checkpoint": "sd1.safetensors", "skip_early_cond": 0.0},
    checkpoints={
        **_SMALL, "sdxl": "sdxl", **{name: name for name in TRANSFORMERS}, "kontext": "flux-kontext",
        "flux_fp8": "flux-fp8",
    },
    payload=_HIRES,
    absent={**_ABSENT, **_ONE_FAMILY, **_TOO_LARGE, "outpainting mk2": _NO_SCRIPT},
    changed={
        "refiner switch (SD1 to SD1)": {
            **_REFINER["refiner switch (SD1 to SD1)"],
            "options": {"refiner_use_steps": True},  # it switches by the noise that is left, if not told to
        },
        # made for models of rectified flow: of SD 1's noise levels it makes no numbers
        "sampler DPM++ 2s a RF": {"has_maps": False, "note": "is not finite"},
        "texts moved from row to row after our callback": _MOVED,
        "loopback": {"payload": {"script_args": [2, 0.5, "Linear"]}},
        "SD upscale": {"payload": {"script_args": [16, "None", 1.5, True]}},
        "512x712": {"size": (512, 704)},  # this host makes them divisible by 64
        "520x600": {"size": (512, 576)},
    },
    lacks={INFOTEXT: _NO_INFOTEXT, BATCHING: _NO_SETTING},
    latent_upscaler="None",
    plot=(*PLOT[:7], "row_count", *PLOT[7:]),
)  # fmt: skip
FORGE = Webui(
    "Forge f2.0.1v1.10.1", "FORGE_DIR", flags=("--always-cpu",),
    settings={"sd_model_checkpoint": "sd1.safetensors"}, payload=_HIRES,
    checkpoints={
        **_SMALL, **{name: name for name in ("sd2", "sdxl", "refiner", "flux", "chroma")}, "flux_fp8": "flux-fp8",
    },
    absent={**_ABSENT, **_TOO_LARGE, "Skip Early CFG": _NO_SETTING},
    changed={
        **_REFINER,
        "texts moved from row to row after our callback": _MOVED,
        "prompts from file": {"payload": {"script_args": [False, False, "start", "a red circle", False]}},
    },
    lacks={INFOTEXT: _NO_INFOTEXT, BATCHING: _NO_SETTING},
)  # fmt: skip
_LDM_PATCHED: dict[str, Any] = {
    "flags": ("--always-cpu",), "settings": {"sd_model_checkpoint": "sd1.safetensors"},
    "checkpoints": {**_SMALL, "sdxl": "sdxl", "refiner": "refiner"}, "has_small_encoders": False,
    "changed": {**_REFINER, "texts moved from row to row after our callback": _MOVED}, "lacks": {BATCHING: _NO_SETTING},
}  # fmt: skip
REFORGE = Webui(
    "reForge", "REFORGE_DIR", **_LDM_PATCHED,
    absent={
        **_ABSENT, **_NO_SD2, **_TOO_LARGE,
        "self-attention guidance": "the host itself fails at it here, with the extension off too",
    },
    plot=(PLOT[0], "draw_individual_labels", "skip_grid", "items_per_grid", *PLOT[1:]),
)  # fmt: skip
_CLASSIC = {**_LDM_PATCHED["changed"], "SD upscale": {"payload": {"script_args": [16, "Lanczos", 1.5]}}}
FORGE_CLASSIC = Webui(
    "Forge Classic", "FORGE_CLASSIC_DIR", **{**_LDM_PATCHED, "changed": _CLASSIC},
    absent={**_ABSENT, **_NO_SD2, **_TOO_LARGE, "NGMS, all steps": _NO_SETTING, "outpainting mk2": _NO_SCRIPT},
)  # fmt: skip
SDNEXT_HIRES: dict[str, Any] = {
    "hr_force": True, "hr_upscaler": "Latent Nearest", "hr_resize_mode": 1, "hr_second_pass_steps": 4,
    "hr_denoising_strength": 0.6,
}  # fmt: skip
HIRES_ROWS = (
    "hires fix", "hires fix, latent", "hires fix, other prompt", "hires fix, first pass", "hires fix, second pass",
)  # fmt: skip
SDNEXT = Webui(
    "SD.Next (July 2026)", "SDNEXT_DIR", common=("--skip-all", *FLAGS[-2:]),
    settings={
        "sd_model_checkpoint": "Diffusers/embedded", "offline_mode": True, "diffusers_offload_mode": "none",
        "samples_format": "png", "prompt_attention": "native", "image_metadata": True,
        "sdnq_dequantize_compile": False, "te_shared_te": False,  # which want Triton, and text encoders from a hub
        "server_rate_limit": 0,  # it refuses more than 60 pictures a minute
        "theme_type": "Standard",  # for the other look, a repository of its own, its page waits two minutes
    },
    checkpoints={name: f"Diffusers/{name}" for name in ("embedded", "sdxl", "flux")} | {"sd1": "Diffusers/embedded"},
    has_pipelines=True,
    folders=("grids", "text"),
    plot_script="xyz grid script",
    plot=(
        "csv_mode", "draw_legend", "no_fixed_seeds", "include_grid", "include_sub_grids", "include_lone_images",
        "include_time", "include_text", "margin_size", "create_video", "video_type", "video_duration", "video_loop",
        "video_pad", "video_interpolate",
    ),
    absent={
        **_ABSENT,
        **_ONE_FAMILY,
        **dict.fromkeys(
            (
                "Skip Early CFG", "NGMS", "NGMS, all steps", "clip skip 2", "emphasis None", "emphasis Ignore",
                "emphasis Original", "emphasis No norm", "token merging 0.5",
            ),
            _NO_SETTING,
        ),
        **dict.fromkeys(
            ("AND, two parts", "AND, three parts of different length", "AND, a batch"), "the host takes AND for a word"
        ),
        **dict.fromkeys(
            ("textual inversion", "textual inversion wrapped to the next chunk"), "no small one is made for this host"
        ),
        **dict.fromkeys(("styles", "different prompts per image"), "the tests' way to it is another WebUI's"),
        **dict.fromkeys(("interrupt at step 3", "skip at step 3"), "the host calls nobody at a step"),
        **dict.fromkeys(("attn2.forward replaced", "p.sample wrapped"), "the host has no such function"),
        "texts moved from row to row after our callback": "the host has no such callback",
        **dict.fromkeys(
            ("X/Y/Z plot", "prompt matrix", "loopback", "SD upscale", "outpainting mk2", "prompts from file",
             "nested generation on the finished picture"),
            "not tried there",
        ),
        "hires fix, image upscaler": "no model samples there but with “force hires”",
        "model switched between generations": "SDXL is in other rows",
        "refiner switch (SD1 to SD1)": "the refiner's steps are not in the maps, which is said",
        "Sizes": "the embedded model is made for 128x128",
    },
    changed={
        **{name: {"payload": SDNEXT_HIRES} for name in HIRES_ROWS},
        "Flux, BREAK and editing": {"has_maps": True, "note": ""},
        "exception in the UNet": {"fails": False, "has_maps": False},  # the host answers with a picture of its own
    },
    lacks={
        INFOTEXT: "the host has no such field",
        BATCHING: _NO_SETTING,
        AND: "the host takes AND for a word",
        USERS: "the host has one list of users",
        PAGE: "its page has tests of its own",
    },
)  # fmt: skip
WEBUIS = (A1111, FORGE_NEO, FORGE, REFORGE, FORGE_CLASSIC, SDNEXT)
