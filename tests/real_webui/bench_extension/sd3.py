"""A tiny random checkpoint of Stable Diffusion 3, made inside the WebUI: its sizes stand in the WebUI's own code.

Stand-ins: CLIP's tokenizer from our folder; a T5 tokenizer that was trained on a few prompts, or T5's own where
T5_TOKENIZER_DIR names its folder; and a T5 that gives each token a random vector, which is used where the setting
"Enable T5" is on.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch
from make_checkpoints import randomised, save
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import UnigramTrainer
from transformers import CLIPTokenizer, PreTrainedTokenizerFast, T5TokenizerFast

WIDTH = {"clip_l": 32, "clip_g": 48}
HIDDEN = 2 * 64
PATCHES = 64
CONTEXT = 4096
T5_VOCABULARY = 32128
T5_WIDTH = 16
TEXTS = ("a red circle and a blue square on a white background", "a tree, the sun and a moon over an old house") * 20


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
    T5TokenizerFast.from_pretrained = lambda *_, **__: _t5_tokenizer()
    sd3_cond.T5XXLModel = TinyT5
    sd3_cond.SD3Cond.__init__ = _with_t5(sd3_cond.SD3Cond.__init__)
    prefix = "model.diffusion_model."
    shapes = {
        "x_embedder.proj.weight": (HIDDEN, 16, 2, 2), "pos_embed": (1, PATCHES * PATCHES, HIDDEN),
        "y_embedder.mlp.0.weight": (HIDDEN, sum(WIDTH.values())), "context_embedder.weight": (HIDDEN, CONTEXT),
    }  # fmt: skip
    known = {prefix + name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.manual_seed(3000)
    state = randomised(sd3_model.SD3Inferencer(state_dict=known).state_dict())
    save(state, folder / "models" / "Stable-diffusion" / "sd3.safetensors")


class TinyT5(torch.nn.Module):
    """In place of the WebUI's T5XXLModel: knows tokens, and no word beside them."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.transformer = torch.nn.Module()
        self.transformer.encoder = torch.nn.Module()
        self.transformer.encoder.embed_tokens = torch.nn.Embedding(T5_VOCABULARY, T5_WIDTH)

    def forward(self, tokens: list[list[int]]) -> tuple[torch.Tensor, None]:
        vectors = self.transformer.encoder.embed_tokens(torch.tensor(tokens))
        return vectors.repeat(1, 1, CONTEXT // T5_WIDTH), None


def _with_t5(original: Any) -> Any:
    """The encoder is built with T5, so that one checkpoint serves with the setting on and off."""

    def build(self: Any, *arguments: Any, **named: Any) -> None:
        from modules import shared

        before = shared.opts.data.get("sd3_enable_t5", False)
        shared.opts.data["sd3_enable_t5"] = True
        try:
            original(self, *arguments, **named)
        finally:
            shared.opts.data["sd3_enable_t5"] = before

    return build


def _t5_tokenizer() -> PreTrainedTokenizerFast:
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    if os.environ.get("T5_TOKENIZER_DIR"):
        file = Path(os.environ["T5_TOKENIZER_DIR"]) / "tokenizer.json"
        return PreTrainedTokenizerFast(tokenizer_file=str(file), **names)
    tokenizer = Tokenizer(Unigram())
    tokenizer.pre_tokenizer = Metaspace()
    trainer = UnigramTrainer(vocab_size=80, special_tokens=list(names.values()), unk_token="<unk>")
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
