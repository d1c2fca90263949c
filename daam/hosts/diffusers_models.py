"""Loads pipelines and samplers by the names that a user types. Knows no heat map."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

from daam.demo_model import WEIGHTS
from daam.errors import ModelError, SettingError

logger = logging.getLogger(__name__)
EMBEDDED = "embedded"
EMBEDDED_FOLDER = WEIGHTS
EMBEDDED_GUIDANCE_SCALE = 5.0
"""What the embedded model was tuned and is measured with."""
SINGLE_FILES = (".safetensors", ".ckpt")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Sampler(NamedTuple):
    """A scheduler of diffusers with its settings; `calls_per_step` is 2 for second-order samplers."""

    scheduler: str
    settings: dict[str, Any]
    calls_per_step: int = 1


SAMPLERS = {
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "DPM++ 2M Karras": Sampler("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "Euler": Sampler("EulerDiscreteScheduler", {}),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", {}),
    "Heun": Sampler("HeunDiscreteScheduler", {}, calls_per_step=2),
    "DPM2": Sampler("KDPM2DiscreteScheduler", {}, calls_per_step=2),
    "DDIM": Sampler("DDIMScheduler", {}),
    "UniPC": Sampler("UniPCMultistepScheduler", {}),
}
"""The WebUI's names. Adding a sampler is adding an entry."""
DEFAULT_SAMPLER = "DPM++ 2M"


def load_pipeline(model: str = EMBEDDED, *, device: str | None = None, dtype: str | None = None) -> DiffusionPipeline:
    """A pipeline of diffusers, ready to run.

    >>> embedded = daam.load_pipeline(device="cpu")
    >>> embedded("a red circle", num_inference_steps=1).images[0].size
    (128, 128)

    Args:
        model: "embedded", a diffusers folder, a single-file checkpoint, or a hub id.
        device: "cpu", "cuda", …; None takes CUDA where there is one.
        dtype: float32, float16 or bfloat16; None takes float32, but on CUDA float16, or bfloat16 for models with joint
            attention, whose T5 has no range for less.

    Raises:
        ModelError: the model cannot be found or loaded, or the device is not there.
        SettingError: the dtype is not known, or the device computes nothing.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype is not None and dtype not in DTYPES:
        raise SettingError(f"dtype: expected {', '.join(DTYPES)}, got {dtype!r}")
    if device.split(":")[0].strip().lower() == "meta":
        raise SettingError("device: expected one that computes, such as cpu or cuda, got 'meta', which has no numbers")
    try:
        pipeline = _load(model)
        pipeline = pipeline.to(device=device, dtype=DTYPES[dtype or _usual_dtype(pipeline, device)])
    except ModelError:
        raise
    except Exception as error:  # the loaders raise whatever their libraries raise
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"the model {model!r} cannot be loaded on {device}: {reason} "
            "(expected: embedded, a diffusers folder, a .safetensors or .ckpt file, or a hub id)"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _usual_dtype(pipeline: Any, device: str) -> str:
    if not device.startswith("cuda"):
        return "float32"
    return "float16" if hasattr(pipeline, "unet") else "bfloat16"


def _load(model: str) -> Any:
    path = EMBEDDED_FOLDER if model == EMBEDDED else Path(model).expanduser()
    if path.suffix.lower() in SINGLE_FILES:
        if not path.is_file():
            raise ModelError(f"there is no checkpoint {path}")
        return _load_single_file(path)
    if path.is_dir() and not (path / "model_index.json").is_file():
        raise ModelError(f"the folder {path} is no diffusers model: it has no model_index.json")
    return DiffusionPipeline.from_pretrained(str(path) if path.is_dir() else model, low_cpu_mem_usage=False)


def _load_single_file(path: Path) -> Any:
    """A file with the second text encoder's names is an XL model."""
    from safetensors import safe_open

    is_xl = False
    if path.suffix.lower() == ".safetensors":
        with safe_open(path, framework="pt") as file:
            is_xl = any(key.startswith("conditioner.embedders.1.") for key in file.keys())
    kind = StableDiffusionXLPipeline if is_xl else StableDiffusionPipeline
    return kind.from_single_file(str(path))


def usual_guidance_scale(model: str) -> float | None:
    """Of a model by its name, where none is asked for; None where the pipeline that it is loaded as decides."""
    return EMBEDDED_GUIDANCE_SCALE if model == EMBEDDED else None


def find_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        SettingError: there is no such sampler.
    """
    sampler = {key.lower(): value for key, value in SAMPLERS.items()}.get(name.lower())
    if sampler is None:
        close = difflib.get_close_matches(name, SAMPLERS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SettingError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {name!r}{hint}")
    return sampler


def set_sampler(pipeline: Any, name: str) -> Sampler:
    """Gives the pipeline the sampler of that name, keeping the model's noise schedule.

    Raises:
        SettingError: there is no such sampler.
    """
    sampler = find_sampler(name)
    scheduler = getattr(diffusers, sampler.scheduler)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **sampler.settings)
    return sampler


def name_of(pipeline: Any) -> str:
    """What a pipeline was loaded as: its id on the hub, or the name of its folder; "" where it was not loaded."""
    name = str(getattr(getattr(pipeline, "config", None), "_name_or_path", None) or "")
    return Path(name).name if Path(name).exists() else name
