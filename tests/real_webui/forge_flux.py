"""A small Flux under the names of its own publication, with its text encoders inside. Knows only names and shapes."""

from __future__ import annotations

from tests.real_webui.forge_sizes import T5_SIZES

Shapes = dict[str, tuple[int, ...]]
WIDTH, HEAD, BLOCKS = 256, 128, 2
"""Forge Neo reads the width and the number of blocks from the weights; heads have 128 channels."""
LATENT = 16 * 4
"""Channels of a patch of 2 x 2."""
CLIP_WIDTH, STEP_WIDTH, VOCABULARY = 768, 256, 32128


def _linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _embedder(name: str, into: int) -> Shapes:
    return {**_linear(f"{name}.in_layer", WIDTH, into), **_linear(f"{name}.out_layer", WIDTH, WIDTH)}


def _norms(name: str) -> Shapes:
    return {f"{name}.{part}_norm.scale": (HEAD,) for part in ("query", "key")}


def transformer_shapes() -> Shapes:
    shapes = {
        **_linear("img_in", WIDTH, LATENT), **_linear("txt_in", WIDTH, T5_SIZES["d_model"]),
        **_embedder("time_in", STEP_WIDTH), **_embedder("guidance_in", STEP_WIDTH),
        **_embedder("vector_in", CLIP_WIDTH),
        **_linear("final_layer.linear", LATENT, WIDTH), **_linear("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH),
    }  # fmt: skip
    for number in range(BLOCKS):
        for side in ("img", "txt"):
            block = f"double_blocks.{number}.{side}"
            shapes |= _linear(f"{block}_mod.lin", 6 * WIDTH, WIDTH) | _linear(f"{block}_attn.qkv", 3 * WIDTH, WIDTH)
            shapes |= _norms(f"{block}_attn.norm") | _linear(f"{block}_attn.proj", WIDTH, WIDTH)
            shapes |= _linear(f"{block}_mlp.0", 4 * WIDTH, WIDTH) | _linear(f"{block}_mlp.2", WIDTH, 4 * WIDTH)
        block = f"single_blocks.{number}"
        shapes |= _linear(f"{block}.linear1", 7 * WIDTH, WIDTH) | _linear(f"{block}.linear2", WIDTH, 5 * WIDTH)
        shapes |= _norms(f"{block}.norm") | _linear(f"{block}.modulation.lin", 3 * WIDTH, WIDTH)
    return shapes


def t5_shapes() -> Shapes:
    width, inner = T5_SIZES["d_model"], T5_SIZES["d_kv"] * T5_SIZES["num_heads"]
    shapes: Shapes = {"shared.weight": (VOCABULARY, width), "encoder.final_layer_norm.weight": (width,)}
    for number in range(T5_SIZES["num_layers"]):
        block = f"encoder.block.{number}.layer"
        attention = f"{block}.0.SelfAttention"
        shapes |= {f"{attention}.{part}.weight": (inner, width) for part in ("q", "k", "v")}
        shapes |= {f"{attention}.o.weight": (width, inner), f"{block}.0.layer_norm.weight": (width,)}
        if number == 0:
            shapes[f"{attention}.relative_attention_bias.weight"] = (32, T5_SIZES["num_heads"])
        shapes |= {f"{block}.1.DenseReluDense.{part}.weight": (T5_SIZES["d_ff"], width) for part in ("wi_0", "wi_1")}
        shapes |= {f"{block}.1.DenseReluDense.wo.weight": (width, T5_SIZES["d_ff"])}
        shapes |= {f"{block}.1.layer_norm.weight": (width,)}
    return shapes
