"""What every cross-attention of the loaded model really attended to, from hooks of the tests' own.

Independent of `daam`: it records each run of each layer; the test says which run, row and calls are whose.
"""

from __future__ import annotations

import sys
from typing import Any

import torch


class Truth:
    """Attributes: calls: for each call of the model, layer to its runs, each [row, position, token], heads added up."""

    def __init__(self, unet: torch.nn.Module) -> None:
        self.calls: list[dict[str, list[torch.Tensor]]] = []
        self._queries: dict[str, torch.Tensor] = {}
        self._handles: list[tuple[torch.nn.Module, Any]] = []
        self._handles.append((unet, unet.register_forward_pre_hook(lambda *_: self.calls.append({}))))
        for name, module in unet.named_modules():
            if name.endswith(".attn2"):
                for part in ("to_q", "to_k"):
                    hook = self._hook(name, part, module.heads)
                    projection = getattr(module, part)
                    self._handles.append((projection, projection.register_forward_hook(hook)))

    def remove(self) -> None:
        """By number too: Incantations gives modules new dictionaries of hooks."""
        while self._handles:
            module, handle = self._handles.pop()
            handle.remove()
            module._forward_hooks.pop(handle.id, None)

    def _hook(self, name: str, part: str, heads: int) -> Any:
        def see(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            by_head = output.detach().unflatten(-1, (heads, -1)).transpose(1, 2).double()
            if part == "to_q":
                self._queries[name] = by_head
                return
            scores = self._queries[name] @ by_head.transpose(-1, -2) / by_head.shape[-1] ** 0.5
            self.calls[-1].setdefault(name, []).append(scores.softmax(-1).sum(1).float())

        return see

    def error(self, sums: dict[str, Any], columns: tuple[int, ...], where: dict[str, Any]) -> float:
        """How far kept sums are from those of the given run and row over the given calls; 1 where a layer is missing.

        A layer whose size changed on the way has its later size in its name, "layer@HEIGHTxWIDTH".

        Args:
            sums: layer to [column, height, width].
            where: "calls": [first, step] or [first, step, end]; "run": of each layer in a call; "row": of the run, or
                from its end where it is negative, and a run of fewer rows is then of other texts; "period": after how
                many tokens the text stands there again, where it does.
        """
        first, step, *end = where["calls"]
        chosen = self.calls[first : (end or [None])[0] : step]
        if not chosen or {name.partition("@")[0] for name in sums} != set(chosen[0]):
            return 1.0
        worst = 0.0
        for name, maps in sums.items():
            runs = [call[name.partition("@")[0]][where["run"]] for call in chosen]
            there = [run for run in runs if run.shape[1] == maps[0].numel() and len(run) >= -where["row"]]
            fitting = [run[where["row"]] for run in there]
            if not fitting:
                return 1.0
            expected = sum(_folded(positions, where.get("period"))[:, list(columns)].T for positions in fitting)
            worst = max(worst, float((maps.flatten(1) - expected).abs().max()))
        return worst


def _folded(positions: torch.Tensor, period: int | None) -> torch.Tensor:
    """[position, token] with what several copies of one text got added up."""
    return positions if period is None else positions.unflatten(1, (-1, period)).sum(1)


LISTS = ("double_blocks", "single_blocks", "layers", "transformer_blocks", "blocks")
APART = ("noise_refiner", "context_refiner", "txtfusion.layerwise_blocks", "txtfusion.refiner_blocks")


class JointTruth(Truth):
    """The same of joint attention in the Forges' transformers, by a wrapper of the tests' own around their function.

    Blocks are told by the order in which they run; those in which text and picture are apart run first.
    """

    def __init__(self, unet: torch.nn.Module) -> None:
        self.calls = []
        self._names = [block for name in LISTS for block in _blocks(unet, name)]
        self._apart = sum(len(_blocks(unet, name)) for name in APART)
        self._module = sys.modules[type(unet.get_submodule(self._names[0])).__module__]
        if not hasattr(self._module, "attention_function") or hasattr(self._module, "attention"):
            self._module = sys.modules["backend.nn.flux"]  # whose blocks, or function, the others use
        self._original = self._module.attention_function
        self._module.attention_function = self._attention
        self._filled = getattr(unet, "pad_tokens_multiple", None) or 1
        self._patch = getattr(unet, "patch_size", 2)
        self._text = self._picture = self._seen = 0
        self._handles = [(unet, unet.register_forward_pre_hook(self._begin, with_kwargs=True))]

    def _begin(self, _module: torch.nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        self.calls.append({})
        length = named["context"].shape[-2]
        self._text = length + -length % self._filled
        height, width = (inputs[0] if inputs else named["x"]).shape[-2:]
        self._picture = (height // self._patch) * (width // self._patch)
        self._seen = 0

    def _attention(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *others: Any, **named: Any
    ) -> torch.Tensor:
        if self._seen >= self._apart:
            picture = slice(self._text, self._text + self._picture)
            is_apart = named.get("skip_reshape", False)
            query, key = (each if is_apart else each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, k))
            scores = query[:, :, picture].double() @ key.double().transpose(-1, -2) / query.shape[-1] ** 0.5
            self.calls[-1][self._names[self._seen - self._apart]] = [scores.softmax(-1).sum(1).float()]
        self._seen += 1
        return self._original(q, k, v, heads, *others, **named)

    def remove(self) -> None:
        self._module.attention_function = self._original
        super().remove()


def _blocks(unet: torch.nn.Module, name: str) -> list[str]:
    """Args: name: of a list, or of one of a part: "part.list"."""
    *parts, own = name.split(".")
    for part in parts:
        unet = getattr(unet, part, None)  # type: ignore[assignment]
    return [f"{name}.{number}" for number in range(len(getattr(unet, own, ())))]


class AnimaTruth(JointTruth):
    """The same of Anima, whose blocks attend to the picture, then to the text alone."""

    def __init__(self, unet: torch.nn.Module) -> None:
        self.calls = []
        self._names = [f"{name}.cross_attn" for name in _blocks(unet, "blocks")]
        self._module = sys.modules[type(unet).__module__]
        self._original = self._module.attention_function
        self._module.attention_function = self._attention
        self._filled, self._patch = 1, 2
        self._text = self._picture = self._seen = 0
        self._handles = [(unet, unet.register_forward_pre_hook(self._begin, with_kwargs=True))]

    def _attention(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *others: Any, **named: Any
    ) -> torch.Tensor:
        block, is_of_text = divmod(self._seen, 2)
        if is_of_text:
            scores = q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5
            self.calls[-1][self._names[block]] = [scores.softmax(-1).sum(1).float()]
        self._seen += 1
        return self._original(q, k, v, heads, *others, **named)


def truth_of(unet: torch.nn.Module, *, has_layers: bool) -> Truth:
    """Args: has_layers: whether its attention is known by `attn2`, as UNets' is."""
    if has_layers or hasattr(unet, "input_blocks"):
        return Truth(unet)
    return AnimaTruth(unet) if type(unet).__name__ == "Anima" else JointTruth(unet)
