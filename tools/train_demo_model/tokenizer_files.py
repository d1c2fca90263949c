"""Writes CLIP's tokenizer as transformers' files, from the list of merges that the open_clip_torch wheel ships."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

MERGES = 49152 - 256 - 2
SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def write_tokenizer(merges_file: Path, folder: Path) -> None:
    """Writes vocab.json, merges.txt and the two small configuration files.

    Args:
        merges_file: `bpe_simple_vocab_16e6.txt.gz` of OpenAI's CLIP (MIT).
    """
    lines = gzip.decompress(merges_file.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = _byte_letters()
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges] + [*SPECIAL]
    if len(set(tokens)) != 49408:
        raise ValueError(f"expected CLIP's 49,408 tokens, {merges_file} gives {len(set(tokens))}")
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")), "utf-8")
    text = "\n".join(["#version: 0.2", *(" ".join(merge) for merge in merges)])
    (folder / "merges.txt").write_text(text + "\n", "utf-8")
    start, end = SPECIAL
    names = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=1) + "\n")
    settings = {**names, "do_lower_case": True, "errors": "replace", "model_max_length": 77}
    settings |= {"add_prefix_space": False, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def _byte_letters() -> list[str]:
    """One printable letter for each byte, in the order of GPT-2's byte-level BPE: printable bytes first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(others)]
