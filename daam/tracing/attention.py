"""Attention arithmetic on plain tensors. Knows no model and no host.

Every step, from the choice of rows to the softmax, is one call for all layers of one shape: where kernels are small,
calls are what tracing costs.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from daam.errors import ShapeError

CHUNK_ELEMENTS = 8 * 1024 * 1024
"""Numbers in any one tensor that is held at once: 32 MiB in float32."""

CHUNK_FACTOR = {"cpu": 1, "other": 2}
"""How many times as many, by the kind of device: a graphics card is better off with fewer and larger kernels."""

LOG2_E = math.log2(math.e)

LEAST_EXACT = 2.0**-100
"""A sum of exponentials in float32 above which what vanishes in it does not count: float32 goes down to 2**-149."""

CACHED_ELEMENTS = 2 * 1024 * 1024
"""Numbers that a processor works on at once: beyond its cache it waits for memory, the more so beside other work."""


def by_head(joined: Tensor, layers: int, heads: int, rows: range, places: range) -> Tensor:
    """The wanted rows of several layers, head by head, as a view.

    Args:
        joined: [row, layer * place, head * channel], contiguous.
        rows: the wanted ones, one behind the other.
        places: of each layer, the wanted ones, one behind the other.

    Returns:
        [layer, row, head, place, channel].

    Raises:
        ShapeError: the channels cannot be divided among the heads.
    """
    whole, width = joined.shape[1:]
    each = whole // layers
    if width % heads:
        raise ShapeError(f"expected channels divisible by {heads} heads, got a tensor of {width} channels")
    size = (layers, len(rows), heads, len(places), width // heads)
    stride = (each * width, whole * width, width // heads, width, 1)
    return joined.as_strided(size, stride, joined.storage_offset() + (rows.start * whole + places.start) * width)


def in_float32(tensor: Tensor) -> Tensor:
    """The same numbers, one behind the other in memory."""
    if tensor.dtype is torch.float32:
        return tensor.contiguous()
    return tensor.to(torch.float32, memory_format=torch.contiguous_format)


def probabilities(query: Tensor, key: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    """How much each image position looks at each token.

    >>> query, key = torch.ones(2, 16, 8), torch.ones(2, 8, 4)  # two heads, 16 positions, four tokens alike
    >>> found = probabilities(query, key, scale=8**-0.5)
    >>> found.shape, found[0, 0].tolist()
    (torch.Size([2, 16, 4]), [0.25, 0.25, 0.25, 0.25])

    Args:
        query: [matrix, position, channel], float32.
        key: [matrix, channel, token], float32.
        scale: multiplies the scores; usually channel ** -0.5.
        bias: added to the scores, [matrix, 1 or position, token], float32; minus infinity hides a token. Empty storage
            of one number, [1], adds nothing, and is not made anew as it is where there is none.

    Returns:
        [matrix, position, token], float32. Sums to 1 over `token`.
    """
    bias = query.new_empty(1) if bias is None else bias
    beta = 0 if bias.numel() == 1 else 1
    with in_full_precision(query.device.type):
        return torch.baddbmm(bias, query, key, beta=beta, alpha=scale).softmax(dim=-1)


def exponentials(query: Tensor, key: Tensor, scale: float, bias: Tensor, room: Tensor) -> None:
    """The same before it is divided by its sum over `token`, on a processor in less than half of the softmax's time.

    A softmax takes the highest score from all others first, lest they become too large or too small for float32. Here
    that is not done, so `are_exact` is to be asked afterwards. Powers of two are what a processor makes fastest.

    Args:
        query, key, scale, bias: as for `probabilities`.
        room: memory for the result, [matrix, position, token], float32.
    """
    with in_full_precision(query.device.type):
        beta = 0 if bias.numel() == 1 else LOG2_E
        torch.baddbmm(bias, query, key, beta=beta, alpha=scale * LOG2_E, out=room)
        torch.exp2(room, out=room)


def are_exact(sums: Tensor) -> bool:
    """Whether sums of `exponentials` are neither too small nor too large for what was summed up to be exact.

    Never where a number is not finite. Asks the device.
    """
    least, most = torch.aminmax(sums)
    return float(least) > LEAST_EXACT and float(most) < math.inf


def wanted_probabilities(query: Tensor, key: Tensor, scale: float, offset: Tensor) -> Tensor:
    """The same of some tokens among others.

    Args:
        query: [matrix, position, channel], float32.
        key: [matrix, channel, token], float32, of these tokens only.
        offset: what is added to the scores, minus `log_sum_exp` of all tokens; [matrix, position, token or 1], float32.

    Returns:
        [matrix, position, token], float32.
    """
    with in_full_precision(query.device.type):
        return torch.baddbmm(offset, query, key, beta=LOG2_E, alpha=scale * LOG2_E).exp2_()


def log_sum_exp(query: Tensor, key: Tensor, scale: float, bias: Tensor | None = None) -> Tensor | None:
    """The logarithm of what the softmax divides by, from torch's own fused attention, which never holds all scores.

    A probability is then `exp(score - log_sum_exp)`: of some tokens among many, at a fraction of the cost.

    Args:
        query: [row, head, position, channel], any float type.
        key: [row, head, token, channel], of the same.
        scale: multiplies the scores.
        bias: added to the scores, [row, head or 1, position or 1, token]; minus infinity hides a token.

    Returns:
        [row, head, position], float32; None where torch has no such kernel for tensors like these.
    """
    kernels = torch.ops.aten
    bias = None if bias is None else bias.to(query.dtype)
    found: Tensor
    try:
        if query.device.type == "cpu":
            found = kernels._scaled_dot_product_flash_attention_for_cpu(query, key, key, attn_mask=bias, scale=scale)[1]
        elif bias is None and query.dtype is not torch.float32:
            found = kernels._scaled_dot_product_flash_attention(query, key, key, scale=scale)[1]
        else:
            bias = None if bias is None else _aligned(bias).expand(*query.shape[:3], -1)
            found = kernels._scaled_dot_product_efficient_attention(query, key, key, bias, True, scale=scale)[1]
        return found[..., : query.shape[2]]
    except torch.cuda.OutOfMemoryError:
        raise
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return None


def _aligned(bias: Tensor) -> Tensor:
    """As the kernel wants it: rows that begin at multiples of 16 numbers."""
    tokens = bias.shape[-1]
    return functional.pad(bias, (0, -tokens % 16))[..., :tokens]


def in_full_precision(device: str) -> AbstractContextManager[object]:
    """Autocast would make half of what is float32. Args: device: its type."""
    return torch.autocast(device, enabled=False) if _is_autocast(device) else nullcontext()


def _is_autocast(device: str) -> bool:
    """Asked first, since to leave autocast takes longer than to launch kernels. Before torch 2.4 it cannot be asked."""
    try:
        return torch.is_autocast_enabled(device)
    except TypeError:
        return True
