"""The stream for the text in Forge's and Forge Neo's Flux, Chroma and Qwen-Image. Nothing of the hosts is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from daam.errors import TraceError
from daam.tracing.families.joint_model import BlockStream, JointBlock

_INPUTS = ("txt_norm", "txt_in")
"""What a text goes through before the first block; some have no norm."""


class ForgeStream(BlockStream):
    """Blocks that give (picture, text), and in Forge Neo write both into the tensors that they were given.

    The rotary position is one for text and picture, [row, 1, position, ...], the text's first.
    """

    picture: ClassVar[str] = "img"

    def __init__(self, model: nn.Module, blocks: Sequence[JointBlock]):
        super().__init__(blocks, [module for name in _INPUTS if (module := getattr(model, name, None)) is not None])

    def arguments(self, given: Mapping[str, Any], text: Tensor, places: Sequence[int]) -> dict[str, Any]:
        if given.get("attn_mask") is not None:
            raise TraceError("the model is told which positions not to see, which is not known of it")
        columns, rotary = given["txt"].shape[1], given["pe"]
        if rotary is not None:
            chosen = [min(place, columns - 1) for place in places]
            rotary = torch.cat([rotary[:, :, chosen], rotary[:, :, columns:]], dim=2)
        return {**given, "img": given["img"].clone(), "txt": text.clone(), "pe": rotary}

    def text_of(self, given: tuple[Tensor, ...]) -> Tensor:
        return given[1]


class ForgeQwenStream(BlockStream):
    """Blocks that give (text, picture).

    The rotary position is one for text and picture, [row, position, 1, ...], the text's first.
    """

    picture: ClassVar[str] = "hidden_states"

    def __init__(self, model: nn.Module, blocks: Sequence[JointBlock]):
        super().__init__(blocks, [model.get_submodule(name) for name in _INPUTS])

    def arguments(self, given: Mapping[str, Any], text: Tensor, places: Sequence[int]) -> dict[str, Any]:
        columns, rotary = given["encoder_hidden_states"].shape[1], given["image_rotary_emb"]
        chosen = [min(place, columns - 1) for place in places]
        rotary = torch.cat([rotary[:, chosen], rotary[:, columns:]], dim=1)
        return {**given, "encoder_hidden_states": text, "image_rotary_emb": rotary}

    def text_of(self, given: tuple[Tensor, ...]) -> Tensor:
        return given[0]
