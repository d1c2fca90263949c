"""The stream for the text in diffusers' transformers with joint attention. Nothing of diffusers is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from daam.tracing.families.joint_model import BlockStream, JointBlock


class DoubleStream(BlockStream):
    """Blocks that give (text, image).

    The rotary position is one for text and image, (cosine, sine) [position, channel], the text's first.
    """

    picture: ClassVar[str] = "hidden_states"

    def __init__(self, model: nn.Module, blocks: Sequence[JointBlock], inputs: Sequence[str]):
        """Args: inputs: names of the modules that a text goes through before the first block."""
        super().__init__(blocks, [model.get_submodule(name) for name in inputs])

    def arguments(self, given: Mapping[str, Any], text: Tensor, places: Sequence[int]) -> dict[str, Any]:
        columns = given["encoder_hidden_states"].shape[1]
        changed = {**given, "encoder_hidden_states": text}
        if given.get("image_rotary_emb") is not None:
            changed["image_rotary_emb"] = self._rotary(given["image_rotary_emb"], columns, places)
        if given.get("attention_mask") is not None:  # [row, position], the text's first
            mask = given["attention_mask"]
            changed["attention_mask"] = torch.cat([mask.new_ones(len(mask), len(places)), mask[:, columns:]], dim=1)
        if "encoder_hidden_states_mask" in given:
            changed["encoder_hidden_states_mask"] = None
        return changed

    def text_of(self, given: tuple[Tensor, ...]) -> Tensor:
        return given[0]

    def _rotary(self, rotary: tuple[Tensor, Tensor], columns: int, places: Sequence[int]) -> tuple[Tensor, ...]:
        chosen = [min(place, columns - 1) for place in places]
        return tuple(torch.cat([each[chosen], each[columns:]]) for each in rotary)


class ApartDoubleStream(DoubleStream):
    """As Qwen-Image has it: the rotary position of the image and that of the text apart."""

    def _rotary(self, rotary: tuple[Tensor, Tensor], columns: int, places: Sequence[int]) -> tuple[Tensor, ...]:
        image, text = rotary
        return image, text[[min(place, len(text) - 1) for place in places]]
