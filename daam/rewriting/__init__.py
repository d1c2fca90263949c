"""Rewrites the emphasis of words in a typed prompt of AUTOMATIC1111's syntax. Knows no tokenizer and no model."""

from daam.rewriting.edit_frame import EditFrame, EditFrames
from daam.rewriting.frames import edit_frames
from daam.rewriting.removal import remove, remove_all
from daam.rewriting.rewritten import Rewritten
from daam.rewriting.weights import change_weight, set_weight, set_weights

__all__ = [
    "EditFrame", "EditFrames", "Rewritten", "change_weight", "edit_frames", "remove", "remove_all", "set_weight",
    "set_weights",
]  # fmt: skip
