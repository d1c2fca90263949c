"""A small Anima under the names of its publication, its text encoders and its VAE. Only names and shapes."""

from __future__ import annotations

from itertools import pairwise

from tests.real_webui.forge_flux import VOCABULARY, Shapes, _linear
from tests.real_webui.forge_sizes import ADAPTER_SIZES, ANIMA_SIZES, WAN_VAE_SIZES

WIDTH, TEXT, INNER = ANIMA_SIZES["model_channels"], ANIMA_SIZES["crossattn_emb_channels"], ANIMA_SIZES["adaln_lora_dim"]
LATENT = 16
PATCH = 4 * (LATENT + 1)
"""Channels of a patch of 2 x 2, and of its mask."""
MULTIPLES, SHRINKS_TIME = (1, 2, 4, 4), (False, True, True)


def anima_shapes() -> Shapes:
    """The network that makes vectors of T5's tokens lies within the transformer."""
    shapes: Shapes = {
        "t_embedder.1.linear_1.weight": (WIDTH, WIDTH), "t_embedder.1.linear_2.weight": (3 * WIDTH, WIDTH),
        "t_embedding_norm.weight": (WIDTH,), "x_embedder.proj.1.weight": (WIDTH, PATCH),
        "final_layer.linear.weight": (4 * LATENT, WIDTH), **_modulation("final_layer.adaln_modulation", 2),
    }  # fmt: skip
    head = WIDTH // ANIMA_SIZES["num_heads"]
    for number in range(ANIMA_SIZES["num_blocks"]):
        block = f"blocks.{number}"
        shapes |= _attention(f"{block}.self_attn", WIDTH, WIDTH, head, "output_proj")
        shapes |= _attention(f"{block}.cross_attn", WIDTH, TEXT, head, "output_proj")
        shapes |= {f"{block}.mlp.layer1.weight": (4 * WIDTH, WIDTH), f"{block}.mlp.layer2.weight": (WIDTH, 4 * WIDTH)}
        for part in ("self_attn", "cross_attn", "mlp"):
            shapes |= _modulation(f"{block}.adaln_modulation_{part}", 3)
    return {**shapes, **{f"llm_adapter.{name}": shape for name, shape in _adapter().items()}}


def _attention(name: str, width: int, context: int, head: int, out: str) -> Shapes:
    return {
        f"{name}.q_proj.weight": (width, width), f"{name}.{out}.weight": (width, width),
        **{f"{name}.{part}_proj.weight": (width, context) for part in ("k", "v")},
        **{f"{name}.{part}_norm.weight": (head,) for part in ("q", "k")},
    }  # fmt: skip


def _modulation(name: str, parts: int) -> Shapes:
    return {f"{name}.1.weight": (INNER, WIDTH), f"{name}.2.weight": (parts * WIDTH, INNER)}


def _adapter() -> Shapes:
    width, source = ADAPTER_SIZES["model_dim"], ADAPTER_SIZES["source_dim"]
    head = width // ADAPTER_SIZES["num_heads"]
    shapes: Shapes = {"embed.weight": (VOCABULARY, TEXT), "norm.weight": (TEXT,), **_linear("out_proj", TEXT, width)}
    for number in range(ADAPTER_SIZES["num_layers"]):
        block = f"blocks.{number}"
        shapes |= {f"{block}.norm_{part}.weight": (width,) for part in ("self_attn", "cross_attn", "mlp")}
        shapes |= _attention(f"{block}.self_attn", width, width, head, "o_proj")
        shapes |= _attention(f"{block}.cross_attn", width, source, head, "o_proj")
        shapes |= _linear(f"{block}.mlp.0", 4 * width, width) | _linear(f"{block}.mlp.2", width, 4 * width)
    return shapes


def wan_vae_shapes() -> Shapes:
    """Each size has one block to come down, and two to come up."""
    widths = [WAN_VAE_SIZES["base_dim"] * multiple for multiple in MULTIPLES]
    down: list[Shapes] = []
    for number, (into, out) in enumerate(pairwise([widths[0], *widths])):
        down.append(_residual(into, out))
        if number < len(SHRINKS_TIME):
            down.append(_resample(out, out, out if SHRINKS_TIME[number] else 0))
    up: list[Shapes] = []
    for number, (into, out) in enumerate(pairwise([widths[-1], *reversed(widths)])):
        up += [_residual(into if number == 0 else into // 2, out), _residual(out, out)]
        if number < len(SHRINKS_TIME):
            up.append(_resample(out, out // 2, 2 * out if SHRINKS_TIME[-1 - number] else 0))
    widest = widths[-1]
    middle = [_residual(widest, widest), _self_attention(widest), _residual(widest, widest)]
    shapes = {
        **_convolution("encoder.conv1", widths[0], 3, 3), **_list("encoder.downsamples", down),
        **_list("encoder.middle", middle), **_head("encoder.head", 2 * LATENT, widest),
        **_convolution("conv1", 2 * LATENT, 2 * LATENT, 1), **_convolution("conv2", LATENT, LATENT, 1),
        **_convolution("decoder.conv1", widest, LATENT, 3), **_list("decoder.upsamples", up),
        **_list("decoder.middle", middle), **_head("decoder.head", 3, widths[0]),
    }  # fmt: skip
    return shapes


def _list(name: str, parts: list[Shapes]) -> Shapes:
    return {f"{name}.{number}.{own}": shape for number, part in enumerate(parts) for own, shape in part.items()}


def _convolution(name: str, out: int, into: int, size: int) -> Shapes:
    return {f"{name}.weight": (out, into, size, size, size), f"{name}.bias": (out,)}


def _residual(into: int, out: int) -> Shapes:
    shapes: Shapes = {"residual.0.gamma": (into, 1, 1, 1), "residual.3.gamma": (out, 1, 1, 1)}
    shapes |= _convolution("residual.2", out, into, 3) | _convolution("residual.6", out, out, 3)
    return shapes if into == out else {**shapes, **_convolution("shortcut", out, into, 1)}


def _resample(into: int, out: int, time: int) -> Shapes:
    """Args: time: channels of what changes the number of frames; 0 where nothing does."""
    shapes: Shapes = {"resample.1.weight": (out, into, 3, 3), "resample.1.bias": (out,)}
    return {**shapes, **({"time_conv.weight": (time, into, 3, 1, 1), "time_conv.bias": (time,)} if time else {})}


def _self_attention(width: int) -> Shapes:
    return {
        "norm.gamma": (width, 1, 1), "to_qkv.weight": (3 * width, width, 1, 1), "to_qkv.bias": (3 * width,),
        "proj.weight": (width, width, 1, 1), "proj.bias": (width,),
    }  # fmt: skip


def _head(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.0.gamma": (into, 1, 1, 1), **_convolution(f"{name}.2", out, into, 3)}
