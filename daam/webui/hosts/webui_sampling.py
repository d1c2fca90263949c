"""What AUTOMATIC1111's WebUI and its forks have in common when they sample: prompts, passes, and what was encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modules import script_callbacks, sd_samplers, shared
from torch import Tensor

from daam.webui.hosts.protocol import EncodedPrompts, Place, SamplingWatch, Wanted
from daam.webui.hosts.rows import EncodedEntry


class WebuiSampling:
    """Part of `protocol.Sampling` and `protocol.Denoiser`."""

    def sampling_function(self, p: Any) -> Place:
        return Place(p, "sample")

    def own_watch(self, p: Any, wanted: Wanted) -> SamplingWatch | None:
        return None

    def on_denoiser_call(self, see: Callable[[Any], None]) -> None:
        """Registers the callback that gets the WebUI's parameters of each denoiser call; once for each start."""
        script_callbacks.on_cfg_denoiser(see)

    def owner_of(self, params: Any) -> Any:
        """The processing object that makes a denoiser call; None before 1.8, where the call does not say."""
        return getattr(getattr(params, "denoiser", None), "p", None)

    def replaced_generation(self, p: Any) -> str | None:
        """Why what is sampled will not be the picture; None where it will."""
        if getattr(p, "_ad_skip_img2img", False):
            return (
                "ADetailer's 'Skip img2img' leaves the generation out: one step of it runs and is thrown away, and the "
                "picture is the one that was given, with parts made anew by ADetailer"
            )
        return None

    def has_hires_pass(self, p: Any) -> bool:
        return bool(getattr(p, "enable_hr", False))

    def in_hires_pass(self, p: Any) -> bool:
        return bool(getattr(p, "is_hr_pass", False))

    def is_interrupted(self) -> bool:
        return bool(shared.state.interrupted or shared.state.skipped)

    def encoded_prompts(self, p: Any, *, hires: bool) -> EncodedPrompts:
        """Must be read while `p.sample` runs: before, they are not made yet; afterwards `p.prompts` is reset."""
        prefix = "hr_" if hires else ""
        here = slice(p.iteration * p.batch_size, (p.iteration + 1) * p.batch_size)
        hires_steps = None
        if hires:
            hires_steps = _total_steps(p.hr_sampler_name or p.sampler_name, p.hr_second_pass_steps or p.steps)
        return EncodedPrompts(
            positive=list(getattr(p, f"{prefix}prompts")),
            negative=list(getattr(p, f"{prefix}negative_prompts")),
            typed_positive=list(getattr(p, f"all_{prefix}prompts")[here]),
            typed_negative=list(getattr(p, f"all_{prefix}negative_prompts")[here]),
            steps=getattr(p, "firstpass_steps", None) or _total_steps(p.sampler_name, p.steps),
            hires_steps=hires_steps,
        )

    def model_name(self, p: Any) -> str:
        return str(getattr(p, "sd_model_name", None) or shared.sd_model.sd_checkpoint_info.name_for_extra)


def contexts_of_step(arguments: Mapping[str, Any], step: int) -> tuple[Tensor, ...]:
    """What was encoded for each row: every part of every image, then the negative prompt of each image.

    Args:
        arguments: what the sampler was given, with `cond` and `uncond`; the latter is None in some forks at CFG 1.
    """
    schedules = [part.schedules for parts in arguments["cond"].batch for part in parts]
    schedules += list(arguments["uncond"] or [])
    active = [next((entry for entry in each if step <= entry.end_at_step), each[0]) for each in schedules]
    return tuple(context_of(entry.cond) for entry in active)


def context_of(cond: Any) -> Tensor:
    """[column, channel] of what a text was encoded to, which Forge Neo's Anima has in [1, column, channel]."""
    return _context(cond).flatten(0, -2)


def contexts_of(cond: Any) -> Tensor:
    """[row, column, channel] of what several texts were encoded to."""
    return _context(cond).flatten(1, -2)


def _context(cond: Any) -> Tensor:
    context: Tensor = cond["crossattn"] if isinstance(cond, dict) else cond
    return context


def encoded_entries(schedule: Any) -> list[EncodedEntry]:
    return [EncodedEntry(entry.end_at_step, context_of(entry.cond)) for entry in schedule]


def _total_steps(sampler: str, steps: int) -> int:
    config = sd_samplers.find_sampler_config(sampler)
    return int(config.total_steps(steps)) if config else steps
