"""A small Qwen-Image and a small Krea 2 under the names of their publications. Only names and shapes."""

from __future__ import annotations

from tests.real_webui.forge_flux import Shapes, _linear
from tests.real_webui.forge_sizes import QWEN_SIZES

HEAD, LATENT, STEP_WIDTH, BLOCKS = 128, 16 * 4, 256, 2
TAPPED_LAYERS = 12
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


def krea_shapes() -> Shapes:
    """Heads have 128 channels, and two of the picture's have one key."""
    shapes: Shapes = {
        **_linear("first", WIDTH, LATENT), **_linear("tmlp.0", WIDTH, STEP_WIDTH), **_linear("tmlp.2", WIDTH, WIDTH),
        **_linear("tproj.1", 6 * WIDTH, WIDTH), "txtfusion.projector.weight": (1, TAPPED_LAYERS),
        "txtmlp.0.scale": (TEXT,), **_linear("txtmlp.1", WIDTH, TEXT), **_linear("txtmlp.3", WIDTH, WIDTH),
        "last.norm.scale": (WIDTH,), **_linear("last.linear", LATENT, WIDTH), "last.modulation.lin": (2, WIDTH),
    }  # fmt: skip
    for part in ("layerwise_blocks", "refiner_blocks"):
        for number in range(2):
            shapes |= _krea_block(f"txtfusion.{part}.{number}", TEXT, TEXT, TEXT)
    for number in range(BLOCKS):
        shapes |= _krea_block(f"blocks.{number}", WIDTH, HEAD, HEAD)
        shapes |= {f"blocks.{number}.mod.lin": (6 * WIDTH,)}
    return shapes


def _krea_block(name: str, width: int, keys: int, head: int) -> Shapes:
    """Args: keys: channels of all keys; head: of one head."""
    inner = -(-(2 * width // 3 * 4) // 128) * 128
    shapes: Shapes = {f"{name}.{part}norm.scale": (width,) for part in ("pre", "post")}
    shapes |= {f"{name}.attn.{part}.weight": (width, width) for part in ("wq", "gate", "wo")}
    shapes |= {f"{name}.attn.{part}.weight": (keys, width) for part in ("wk", "wv")}
    shapes |= {f"{name}.attn.qknorm.{part}norm.scale": (head,) for part in ("q", "k")}
    shapes |= {f"{name}.mlp.{part}.weight": (inner, width) for part in ("gate", "up")}
    return {**shapes, f"{name}.mlp.down.weight": (width, inner)}
