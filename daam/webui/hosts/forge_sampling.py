"""What Forge, Forge Neo and reForge have in common when they sample: the model, and what a call consists of."""

from __future__ import annotations

from typing import Any

from modules import processing, shared
from torch import nn

from daam.errors import TraceError
from daam.webui.hosts.forge_rows import GroupedRows, Lengths
from daam.webui.hosts.rows import DenoiserCall, Encoded
from daam.webui.hosts.webui_sampling import WebuiSampling, contexts_of, contexts_of_step, encoded_entries


class ForgeSampling(WebuiSampling):
    """See `protocol.Sampling`."""

    @property
    def latent_factor(self) -> int:
        """The host sets it anew for each model."""
        return int(processing.opt_f)

    def read_denoiser_call(self, params: Any, p: Any) -> DenoiserCall:
        """Args: params: what the callback got. p: the processing object that is thought to sample."""
        denoiser = params.denoiser
        arguments = denoiser.sampler.sampler_extra_args
        height, width = params.x.shape[-2:]
        contexts = contexts_of_step(arguments, denoiser.step)

        def lengths() -> Lengths:
            negative = params.text_uncond
            return Lengths(
                contexts_of(params.text_cond).shape[1], None if negative is None else contexts_of(negative).shape[1]
            )

        batch = arguments["cond"].batch
        rows = GroupedRows([len(parts) for parts in batch], (height, width), lengths, contexts)
        encoded = Encoded(
            positive=[[encoded_entries(part.schedules) for part in parts] for parts in batch],
            negative=[[encoded_entries(schedule)] for schedule in arguments["uncond"] or []],
        )
        return DenoiserCall(denoiser.p, denoiser.step, height, width, rows, encoded, contexts)

    def current_unet(self) -> nn.Module:
        """The model that samples now. The objects around it are copied anew for each pass; it stays the same.

        Raises:
            TraceError: no model is loaded.
        """
        objects = getattr(shared.sd_model, "forge_objects", None)
        model = getattr(getattr(getattr(objects, "unet", None), "model", None), "diffusion_model", None)
        if not isinstance(model, nn.Module):
            raise TraceError(f"expected a checkpoint with a diffusion model, got {type(shared.sd_model).__name__}")
        return model
