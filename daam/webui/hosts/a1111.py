"""AUTOMATIC1111's WebUI, versions 1.6 to 1.10; no other file looks at its versions.

Facts about it were read in its version 1.10.1; "since 1.8" and the like say what older ones lack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modules import script_callbacks, sd_samplers, sd_unet, shared
from torch import Tensor, nn

from daam.errors import TraceError
from daam.webui.hosts.a1111_gallery import A1111Gallery
from daam.webui.hosts.a1111_page import A1111Page
from daam.webui.hosts.a1111_rows import RowCursor, StepRows
from daam.webui.hosts.a1111_settings import setting_place
from daam.webui.hosts.a1111_texts import A1111Texts
from daam.webui.hosts.protocol import EncodedPrompts, Host
from daam.webui.hosts.rows import DenoiserCall, Encoded, EncodedEntry

CHUNK = 77
"""Columns of a context come in chunks of so many."""


class A1111(A1111Texts, A1111Gallery, A1111Page):
    """What samples: the model, its calls, and what was encoded for them."""

    latent_factor = 8

    def on_denoiser_call(self, see: Callable[[Any], None]) -> None:
        """Registers the callback that gets the WebUI's parameters of each denoiser call; once for each start."""
        script_callbacks.on_cfg_denoiser(see)

    def read_denoiser_call(self, params: Any, p: Any) -> DenoiserCall:
        """Args: params: what the callback got. p: the processing object that is thought to sample."""
        denoiser = getattr(params, "denoiser", None) or p.sampler.model_wrap_cfg  # the field exists since 1.8
        sampler = getattr(denoiser, "sampler", None) or p.sampler
        conditioning = sampler.sampler_extra_args["cond"]
        height, width = params.x.shape[-2:]
        contexts = _contexts(sampler.sampler_extra_args, denoiser.step)
        rows = StepRows(
            parts=tuple(len(parts) for parts in conditioning.batch),
            positive_rows=params.text_cond.shape[0],
            rows=params.x.shape[0],
            height=height,
            width=width,
            contexts=contexts,
        )
        encoded = Encoded(
            positive=[[_entries(part.schedules) for part in parts] for parts in conditioning.batch],
            negative=[[_entries(schedule)] for schedule in sampler.sampler_extra_args["uncond"]],
        )

        def inputs() -> tuple[Tensor, Tensor]:  # later callbacks replace the fields, or write to the tensors
            text = params.text_cond
            return params.x, text["crossattn"] if isinstance(text, dict) else text

        return DenoiserCall(denoiser.p, denoiser.step, height, width, RowCursor(rows), encoded, contexts, inputs)

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

    def current_unet(self) -> nn.Module:
        """The UNet that samples now; refiner and hires checkpoint change it.

        Raises:
            TraceError: it is not run as a torch module.
        """
        if sd_unet.current_unet is not None:
            raise TraceError(
                f"{type(sd_unet.current_unet).__name__} runs instead of the checkpoint's own UNet, and its attention "
                f"cannot be seen; choose None in {setting_place('sd_unet')}"
            )
        unet = getattr(getattr(shared.sd_model, "model", None), "diffusion_model", None)
        if not isinstance(unet, nn.Module):
            raise TraceError(f"expected a checkpoint with a diffusion model, got {type(shared.sd_model).__name__}")
        return unet

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


def _contexts(arguments: Mapping[str, Any], step: int) -> tuple[Tensor, ...]:
    """What was encoded for each row: every part of every image, then the negative prompt of each image."""
    schedules = [part.schedules for parts in arguments["cond"].batch for part in parts]
    schedules += list(arguments["uncond"])
    active = [next((entry for entry in each if step <= entry.end_at_step), each[0]) for each in schedules]
    return tuple(_context(entry.cond) for entry in active)


def _context(cond: Any) -> Tensor:
    context: Tensor = cond["crossattn"] if isinstance(cond, dict) else cond
    return context


def _entries(schedule: Any) -> list[EncodedEntry]:
    """Without the column that ControlNet and FABRIC set before the text's, to know positive from negative."""
    found = [EncodedEntry(entry.end_at_step, _context(entry.cond)) for entry in schedule]
    return [entry._replace(context=entry.context[len(entry.context) % CHUNK :]) for entry in found]


def _total_steps(sampler: str, steps: int) -> int:
    config = sd_samplers.find_sampler_config(sampler)
    return int(config.total_steps(steps)) if config else steps


if TYPE_CHECKING:
    _complete: Host = A1111()  # mypy sees what is missing
