"""The ways in which models attend to a text: one file and one entry of `FAMILIES` for each."""

from __future__ import annotations

from torch import nn

from daam.errors import TraceError
from daam.tracing.families.base import Attended, Family, Sight
from daam.tracing.families.cross_attention import CrossAttention
from daam.tracing.families.forge_anima import ForgeAnima
from daam.tracing.families.joint import JOINT_MODELS, Joint
from daam.tracing.families.webui_sd3 import WebuiSd3

__all__ = ["FAMILIES", "Attended", "Family", "Sight", "find_family"]

FAMILIES: list[type[Family]] = [WebuiSd3, Joint, ForgeAnima, CrossAttention]
"""Asked in this order; the first that finds its layers in a model has it."""


def find_family(model: nn.Module) -> Family:
    """The layers of a model whose attention is known.

    Raises:
        TraceError: there are none, or torch.compile has replaced the model so that hooks would not run.
    """
    compiled = compiled_modules(model)
    if compiled:
        raise TraceError(
            f"expected a model that is not compiled: torch.compile skips hooks without a word, and {compiled[0]} "
            "is compiled; compile it inside of the trace, or trace and run the original (`model._orig_mod`)"
        )
    for kind in FAMILIES:
        family = kind.find(model)
        if family is not None:
            return family
    if makes_videos(model):
        raise TraceError(
            f"expected a model that makes pictures, got {type(model).__name__}: a video's frames share one text, and "
            "their maps are not kept apart"
        )
    raise TraceError(
        f"expected a model with cross-attention, such as Stable Diffusion's UNet, or with a joint attention that is "
        f"known ({', '.join(kind.name for kind in JOINT_MODELS)}); {type(model).__name__} has none that is known"
    )


def makes_videos(model: nn.Module) -> bool:
    """Whether the model cuts its latents into patches of time too."""
    return any(isinstance(module, nn.Conv3d) for module in model.children())


def compiled_modules(model: nn.Module) -> list[str]:
    """Names of the modules that torch.compile has replaced: hooks set afterwards are silently skipped there."""
    return [
        name or type(module).__name__
        for name, module in model.named_modules()
        if "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
    ]
