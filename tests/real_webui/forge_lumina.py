"""A small Lumina 2 and a small Z-Image under the names of their publications, and their text encoders.

Only names and shapes.
"""

from __future__ import annotations

from typing import Literal

from tests.real_webui.forge_flux import Shapes, _linear
from tests.real_webui.forge_sizes import ANIMA_LLM_SIZES, KLEIN_LLM_SIZES, KREA_LLM_SIZES, LLM_SIZES, LUMINA_SIZES

Kind = Literal["lumina", "z_image"]
KNOWN_WIDTH: dict[Kind, int] = {"lumina": 2304, "z_image": 3840}
LATENT, STEP_WIDTH, REFINERS, LAYERS = 16 * 4, 256, 2, 2
VOCABULARY = {
    "lumina": 256000,
    "z_image": 151936,
    "anima": 151936,
    "qwen_image": 152064,
    "krea": 151936,
    "klein": 151936,
}
LLM_HEAD = {"lumina": 256, "z_image": 128, "anima": 128, "qwen_image": 128, "krea": 128, "klein": 128}


def nextdit_shapes(kind: Kind) -> Shapes:
    """Z-Image has a narrower modulation, and tokens that fill up text and picture."""
    width, text, is_z = LUMINA_SIZES[KNOWN_WIDTH[kind]]["dim"], LLM_SIZES["hidden_size"], kind == "z_image"
    step = STEP_WIDTH if is_z else width
    shapes = {
        **_linear("x_embedder", width, LATENT),
        "cap_embedder.0.weight": (text,), **_linear("cap_embedder.1", width, text),
        **_linear("t_embedder.mlp.0", width, STEP_WIDTH), **_linear("t_embedder.mlp.2", step, width),
        **_linear("final_layer.linear", LATENT, width), **_linear("final_layer.adaLN_modulation.1", width, step),
    }  # fmt: skip
    if is_z:
        shapes |= {"x_pad_token": (1, width), "cap_pad_token": (1, width)}
    for number in range(REFINERS):
        shapes |= _block(f"noise_refiner.{number}", kind, step) | _block(f"context_refiner.{number}", kind, None)
    for number in range(LAYERS):
        shapes |= _block(f"layers.{number}", kind, step)
    return shapes


def _block(name: str, kind: Kind, step: int | None) -> Shapes:
    """Args: step: width of what modulates it; None where nothing does."""
    sizes = LUMINA_SIZES[KNOWN_WIDTH[kind]]
    width, heads = sizes["dim"], sizes["n_heads"]
    head = width // heads
    inner = -(-int(width * (8 / 3 if kind == "z_image" else 4)) // 256) * 256
    shapes: Shapes = {
        f"{name}.attention.qkv.weight": ((heads + 2 * sizes["n_kv_heads"]) * head, width),
        f"{name}.attention.out.weight": (width, width),
        f"{name}.feed_forward.w1.weight": (inner, width), f"{name}.feed_forward.w2.weight": (width, inner),
        f"{name}.feed_forward.w3.weight": (inner, width),
    }  # fmt: skip
    shapes |= {f"{name}.attention.{part}_norm.weight": (head,) for part in ("q", "k")}
    shapes |= {f"{name}.{part}_norm{number}.weight": (width,) for part in ("attention", "ffn") for number in (1, 2)}
    if step is not None:
        shapes |= _linear(f"{name}.adaLN_modulation.{0 if kind == 'z_image' else 1}", 4 * width, step)
    return shapes


def llm_shapes(kind: Kind | Literal["anima", "qwen_image", "krea", "klein"]) -> Shapes:
    sizes = {"anima": ANIMA_LLM_SIZES, "krea": KREA_LLM_SIZES, "klein": KLEIN_LLM_SIZES}.get(kind, LLM_SIZES)
    width, inner, head = sizes["hidden_size"], sizes["intermediate_size"], LLM_HEAD[kind]
    queries, keys = sizes["num_attention_heads"] * head, sizes["num_key_value_heads"] * head
    shapes: Shapes = {"model.embed_tokens.weight": (VOCABULARY[kind], width), "model.norm.weight": (width,)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if kind == "lumina" else []
    for number in range(sizes["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        shapes |= {f"{layer}.{norm}.weight": (width,) for norm in norms}
        shapes |= {f"{layer}.mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
        shapes |= {
            f"{layer}.mlp.down_proj.weight": (width, inner),
            f"{layer}.self_attn.q_proj.weight": (queries, width), f"{layer}.self_attn.k_proj.weight": (keys, width),
            f"{layer}.self_attn.v_proj.weight": (keys, width), f"{layer}.self_attn.o_proj.weight": (width, queries),
        }  # fmt: skip
        if kind == "qwen_image":
            shapes |= {f"{layer}.self_attn.q_proj.bias": (queries,)}
            shapes |= {f"{layer}.self_attn.{part}_proj.bias": (keys,) for part in ("k", "v")}
        elif kind != "lumina":
            shapes |= {f"{layer}.self_attn.{part}_norm.weight": (head,) for part in ("q", "k")}
    return shapes
