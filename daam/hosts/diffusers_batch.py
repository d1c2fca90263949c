"""Generates one prompt after another with one pipeline, so that equal settings give equal records, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.hosts.diffusers_models import load_pipeline
from daam.results.report import versions
from daam.results.result import Result


@dataclass(frozen=True)
class ManyGenerations:
    """What all generations of a batch have in common; `load` gives what generates them.

    Attributes:
        model, device, dtype: as for `load_pipeline`.
        settings: with any prompt; prompt, negative prompt and seed are each generation's own.
        keep, probe: as for `daam.trace`.
        threads: of torch; None leaves them alone. Sums of floats depend on it: records that were made with different
            numbers of threads may differ in their last bits.
    """

    model: str
    settings: GenerationSettings
    device: str | None = None
    dtype: str | None = None
    keep: tuple[str, ...] = ()
    probe: str = ""
    threads: int | None = None

    def load(self) -> LoadedModel:
        """
        Raises:
            ModelError: the model cannot be loaded.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return LoadedModel(self, load_pipeline(self.model, device=self.device, dtype=self.dtype))


class LoadedModel:
    """A model that is ready; it says nothing of time and date in the records, which would differ each time."""

    def __init__(self, common: ManyGenerations, pipeline: Any):
        self._common, self._pipeline = common, pipeline
        self._versions = versions()

    def generate(self, prompt: str, seed: int, negative: str = "") -> Result:
        """One picture with its trace. Raises as `daam.generate`."""
        common = self._common
        settings = replace(common.settings, prompt=prompt, negative=negative, seed=seed)
        result = generate(self._pipeline, settings, keep=common.keep, probe=common.probe)
        notes = replace(result.notes, model=common.model, seconds={}, date="", versions=self._versions)
        return replace(result, notes=notes)
