"""A small Qwen-Image under the names of its publication. Only names and shapes."""

from __future__ import annotations

from tests.real_webui.forge_flux import Shapes, _linear
from tests.real_webui.forge_sizes import QWEN_SIZES

HEAD, LATENT, STEP_WIDTH, BLOCKS = 128, 16 * 4, 256, 2
WIDTH, TEXT = HEAD * QWEN_SIZES["num_attention_heads"], QWEN_SIZES["joint_attention_dim"]


def qwen_shapes() -> Shapes:
    shapes = {
        **_linear("time_text_embed.timestep_embedder.linear_1", WIDTH, STEP_WIDTH),
        **_linear("time_text_embed.timestep_embedder.linear_2", WIDTH, WIDTH),
        "txt_norm.weight": (TEXT,), **_linear("txt_in", WIDTH, TEXT), **_linear("img_in", WIDTH, LATENT),
        **_linear("norm_out.linear", 2 * WIDTH, WIDTH), **_linear("proj_out", LATENT, WIDTH),
    }  # fmt: skip
    for number in range(BLOCKS):
        block = f"transformer_blocks.{number}"
        for side in ("img", "txt"):
            shapes |= _linear(f"{block}.{side}_mod.1", 6 * WIDTH, WIDTH)
            shapes |= _linear(f"{block}.{side}_mlp.net.0.proj", 4 * WIDTH, WIDTH)
            shapes |= _linear(f"{block}.{side}_mlp.net.2", WIDTH, 4 * WIDTH)
        for part in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"):
            shapes |= _linear(f"{block}.attn.{part}", WIDTH, WIDTH)
        shapes |= {f"{block}.attn.norm_{part}.weight": (HEAD,) for part in ("q", "k", "added_q", "added_k")}
    return shapes
