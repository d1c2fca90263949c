"""AUTOMATIC1111's WebUI, versions 1.6 to 1.10; no other file looks at its versions.

Facts about it were read in its version 1.10.1; "since 1.8" and the like say what older ones lack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modules import sd_unet, shared
from torch import Tensor, nn

from daam.errors import TraceError
from daam.webui.hosts.a1111_gallery import A1111Gallery
from daam.webui.hosts.a1111_page import A1111Page
from daam.webui.hosts.a1111_rows import RowCursor, StepRows
from daam.webui.hosts.a1111_settings import setting_place
from daam.webui.hosts.a1111_texts import A1111Texts
from daam.webui.hosts.protocol import Host
from daam.webui.hosts.rows import DenoiserCall, Encoded, EncodedEntry
from daam.webui.hosts.webui_sampling import WebuiSampling, contexts_of, contexts_of_step, encoded_entries

CHUNK = 77
"""Columns of a context come in chunks of so many."""


class A1111(WebuiSampling, A1111Texts, A1111Gallery, A1111Page):
    """What samples: the model, its calls, and what was encoded for them."""

    latent_factor = 8

    def read_denoiser_call(self, params: Any, p: Any) -> DenoiserCall:
        """Args: params: what the callback got. p: the processing object that is thought to sample."""
        denoiser = getattr(params, "denoiser", None) or p.sampler.model_wrap_cfg  # the field exists since 1.8
        sampler = getattr(denoiser, "sampler", None) or p.sampler
        conditioning = sampler.sampler_extra_args["cond"]
        height, width = params.x.shape[-2:]
        contexts = contexts_of_step(sampler.sampler_extra_args, denoiser.step)
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
            return params.x, contexts_of(params.text_cond)

        return DenoiserCall(denoiser.p, denoiser.step, height, width, RowCursor(rows), encoded, contexts, inputs)

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


def _entries(schedule: Any) -> list[EncodedEntry]:
    """Without the column that ControlNet and FABRIC set before the text's, to know positive from negative."""
    found = encoded_entries(schedule)
    return [entry._replace(context=entry.context[len(entry.context) % CHUNK :]) for entry in found]


if TYPE_CHECKING:
    _complete: Host = A1111()  # mypy sees what is missing
