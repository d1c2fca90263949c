"""A small Flux and a small Chroma under the names of their own publications, and their T5. Only names and shapes."""

from __future__ import annotations

from tests.real_webui.forge_sizes import FLUX_SIZES, GUIDANCE_SIZES, KLEIN_SIZES, T5_SIZES

Shapes = dict[str, tuple[int, ...]]
WIDTH, BLOCKS = FLUX_SIZES["hidden_size"], FLUX_SIZES["depth"]
HEAD = WIDTH // FLUX_SIZES["num_heads"]
LATENT = 16 * 4
"""Channels of a patch of 2 x 2."""
KLEIN_LATENT = 32 * 4
CLIP_WIDTH, STEP_WIDTH, VOCABULARY = 768, 256, 32128


def _linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _embedder(name: str, into: int) -> Shapes:
    return {**_linear(f"{name}.in_layer", WIDTH, into), **_linear(f"{name}.out_layer", WIDTH, WIDTH)}


def _norms(name: str) -> Shapes:
    return {f"{name}.{part}_norm.scale": (HEAD,) for part in ("query", "key")}


def flux_shapes() -> Shapes:
    return {
        **_common(), **_embedder("time_in", STEP_WIDTH), **_embedder("guidance_in", STEP_WIDTH),
        **_embedder("vector_in", CLIP_WIDTH), **_linear("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH),
        **_modulations(),
    }  # fmt: skip


def chroma_shapes() -> Shapes:
    """Its modulations come from one layer, of which Flux has one in each block."""
    layer, inner = "distilled_guidance_layer", GUIDANCE_SIZES["hidden_dim"]
    shapes = _common() | _linear(f"{layer}.in_proj", inner, 64) | _linear(f"{layer}.out_proj", WIDTH, inner)
    for number in range(GUIDANCE_SIZES["n_layers"]):
        shapes |= _linear(f"{layer}.layers.{number}.in_layer", inner, inner)
        shapes |= _linear(f"{layer}.layers.{number}.out_layer", inner, inner)
        shapes |= {f"{layer}.norms.{number}.scale": (inner,)}
    return shapes


def _common() -> Shapes:
    shapes = {
        **_linear("img_in", WIDTH, LATENT), **_linear("txt_in", WIDTH, T5_SIZES["d_model"]),
        **_linear("final_layer.linear", LATENT, WIDTH),
    }  # fmt: skip
    for number in range(BLOCKS):
        for side in ("img", "txt"):
            block = f"double_blocks.{number}.{side}"
            shapes |= _linear(f"{block}_attn.qkv", 3 * WIDTH, WIDTH) | _norms(f"{block}_attn.norm")
            shapes |= _linear(f"{block}_attn.proj", WIDTH, WIDTH)
            shapes |= _linear(f"{block}_mlp.0", 4 * WIDTH, WIDTH) | _linear(f"{block}_mlp.2", WIDTH, 4 * WIDTH)
        block = f"single_blocks.{number}"
        shapes |= _linear(f"{block}.linear1", 7 * WIDTH, WIDTH) | _linear(f"{block}.linear2", WIDTH, 5 * WIDTH)
        shapes |= _norms(f"{block}.norm")
    return shapes


def _modulations() -> Shapes:
    shapes: Shapes = {}
    for number in range(BLOCKS):
        for side in ("img", "txt"):
            shapes |= _linear(f"double_blocks.{number}.{side}_mod.lin", 6 * WIDTH, WIDTH)
        shapes |= _linear(f"single_blocks.{number}.modulation.lin", 3 * WIDTH, WIDTH)
    return shapes


def klein_shapes() -> Shapes:
    """Flux 2 Klein: no biases, and all blocks of one kind have one modulation."""
    inner = 3 * WIDTH
    shapes: Shapes = {
        "img_in.weight": (WIDTH, KLEIN_LATENT), "txt_in.weight": (WIDTH, KLEIN_SIZES["context_in_dim"]),
        "time_in.in_layer.weight": (WIDTH, STEP_WIDTH), "time_in.out_layer.weight": (WIDTH, WIDTH),
        "final_layer.linear.weight": (KLEIN_LATENT, WIDTH),
        "final_layer.adaLN_modulation.1.weight": (2 * WIDTH, WIDTH),
        "single_stream_modulation.lin.weight": (3 * WIDTH, WIDTH),
    }  # fmt: skip
    for side in ("img", "txt"):
        shapes[f"double_stream_modulation_{side}.lin.weight"] = (6 * WIDTH, WIDTH)
    for number in range(BLOCKS):
        for side in ("img", "txt"):
            block = f"double_blocks.{number}.{side}"
            shapes |= {f"{block}_attn.qkv.weight": (3 * WIDTH, WIDTH), f"{block}_attn.proj.weight": (WIDTH, WIDTH)}
            shapes |= {f"{block}_mlp.0.weight": (2 * inner, WIDTH), f"{block}_mlp.2.weight": (WIDTH, inner)}
            shapes |= _norms(f"{block}_attn.norm")
        block = f"single_blocks.{number}"
        shapes |= {
            f"{block}.linear1.weight": (3 * WIDTH + 2 * inner, WIDTH),
            f"{block}.linear2.weight": (WIDTH, WIDTH + inner),
        }
        shapes |= _norms(f"{block}.norm")
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
