"""Sizes of the small checkpoints for the Forges, read in the tests' Python and in the host's."""

from __future__ import annotations

from typing import Any

CLIP_LAYERS, OPEN_CLIP_LAYERS = 2, 3
"""`ldm_patched` wants more layers than it looks back: two in SDXL's OpenCLIP, eleven in CLIP-L."""
VAE_SIZES = {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1}
T5_SIZES = {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_heads": 4, "num_layers": 2}
LLM_SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # fmt: skip
"""Of the text encoders of Z-Image (Qwen 3) and Lumina 2 (Gemma 2): one layer more than the hosts look back."""
ANIMA_LLM_SIZES = {**LLM_SIZES, "hidden_size": 128}
"""Of Anima's smaller Qwen 3, which only its width tells from that of Z-Image."""
FLUX_SIZES = {"hidden_size": 256, "num_heads": 2, "depth": 2, "depth_single_blocks": 2, "context_in_dim": 64}
"""Of Flux and Chroma. Heads have 128 channels."""
KLEIN_LLM_SIZES = {**LLM_SIZES, "hidden_size": 96, "num_hidden_layers": 28}
"""Of Flux 2 Klein's Qwen 3, which it looks into at three places; only its width tells it from others."""
KLEIN_SIZES = {**FLUX_SIZES, "context_in_dim": 3 * KLEIN_LLM_SIZES["hidden_size"]}
GUIDANCE_SIZES = {"hidden_dim": 64, "n_layers": 1, "out_dim": 256}
"""Of the layer that makes all of Chroma's modulations; its width is the network's."""
LUMINA_SIZES: dict[int, dict[str, Any]] = {
    2304: {"dim": 192, "n_heads": 2, "n_kv_heads": 1},
    3840: {"dim": 256, "n_heads": 2, "n_kv_heads": 2},
}
"""Of Lumina 2 and of Z-Image, by the width that each is known by; their heads have 96 and 128 channels."""
QWEN_SIZES: dict[str, int] = {"num_attention_heads": 2, "joint_attention_dim": LLM_SIZES["hidden_size"]}
"""Of Qwen-Image, whose heads have 128 channels."""
KREA_SIZES: dict[str, int] = {"txtheads": 1, "txtkvheads": 1}
"""Of the network that makes Krea 2's text; all else is told by the widths of its weights."""
KREA_LLM_SIZES = {**LLM_SIZES, "num_hidden_layers": 36}
"""Krea 2 looks at what 12 of them give, up to the last."""
ANIMA_SIZES: dict[str, int] = {
    "model_channels": 256, "num_blocks": 2, "num_heads": 2, "crossattn_emb_channels": 64, "adaln_lora_dim": 32,
}  # fmt: skip
ADAPTER_SIZES = {
    "source_dim": ANIMA_LLM_SIZES["hidden_size"], "target_dim": ANIMA_SIZES["crossattn_emb_channels"], "model_dim": 64,
    "num_layers": 1, "num_heads": 2,
}  # fmt: skip
"""Of the network that makes Anima's vectors of T5's tokens and what Qwen 3 gives."""
WAN_VAE_SIZES = {"base_dim": 16, "num_res_blocks": 1}
"""Of Anima's VAE."""
