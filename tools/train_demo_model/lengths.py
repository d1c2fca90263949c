"""How long each part of the training takes and from how many scenes it learns, where nothing else is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Minutes:
    """Of the parts of the VAE's training: of processor time, all threads together; on a GPU of the clock."""

    decoder: float
    encoder: float
    both: float

    @property
    def are_none(self) -> bool:
        return self.decoder + self.encoder + self.both <= 0


NONE = Minutes(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Lengths:
    """Attributes: scenes: that UNet and text encoder learn from, in so many minutes; pool: that the VAE learns from."""

    scenes: int
    minutes: float
    pool: int
    autoencoder: Minutes


ON_PROCESSOR = Lengths(24000, 180.0, 6000, Minutes(decoder=7.0, encoder=1.0, both=20.0))
ON_GPU = Lengths(160000, 5.0, 12000, Minutes(decoder=1.5, encoder=0.5, both=1.4))
