"""A tiny random checkpoint of Stable Diffusion 3, made inside the WebUI: its sizes stand in the WebUI's own code.

Two stand-ins: CLIP's tokenizer from our folder, and a T5 tokenizer of three tokens, as T5 itself is switched off.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from make_checkpoints import randomised, save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5TokenizerFast

WIDTH = {"clip_l": 32, "clip_g": 48}
HIDDEN = 2 * 64
PATCHES = 64
CONTEXT = 4096


def make_sd3(folder: Path) -> None:
    """Writes models/Stable-diffusion/sd3.safetensors; the WebUI can load it for the rest of its life."""
    from modules.models.sd3 import sd3_cond, sd3_impls, sd3_model

    for name, config in (("clip_l", sd3_cond.CLIPL_CONFIG), ("clip_g", sd3_cond.CLIPG_CONFIG)):
        sizes = {"hidden_size": WIDTH[name], "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3}
        config.update(sizes)
    for name in ("VAEEncoder", "VAEDecoder"):
        setattr(sd3_impls, name, functools.partial(getattr(sd3_impls, name), ch=32))
    original = CLIPTokenizer.from_pretrained

    def from_pretrained(name: Any, *arguments: Any, **named: Any) -> Any:
        path = str(folder / "tiny-clip") if str(name).startswith("openai/") else name
        return original(path, *arguments, **named)

    CLIPTokenizer.from_pretrained = from_pretrained
    T5TokenizerFast.from_pretrained = lambda *_, **__: _three_tokens()
    prefix = "model.diffusion_model."
    shapes = {
        "x_embedder.proj.weight": (HIDDEN, 16, 2, 2), "pos_embed": (1, PATCHES * PATCHES, HIDDEN),
        "y_embedder.mlp.0.weight": (HIDDEN, sum(WIDTH.values())), "context_embedder.weight": (HIDDEN, CONTEXT),
    }  # fmt: skip
    known = {prefix + name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.manual_seed(3000)
    state = randomised(sd3_model.SD3Inferencer(state_dict=known).state_dict())
    save(state, folder / "models" / "Stable-diffusion" / "sd3.safetensors")


def _three_tokens() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
