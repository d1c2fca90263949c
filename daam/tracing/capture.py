"""Torch hooks that read the query and the key of every cross-attention while the model's own kernel runs untouched.

Knows how a model is built (see layers.py), no host and no prompt.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from daam.errors import ShapeError, TraceError
from daam.tracing.accumulator import Accumulator, Contribution
from daam.tracing.attention import cross_attention_probabilities, split_heads, sum_over_heads
from daam.tracing.layers import (
    CrossAttentionLayer,
    JointAttentionLayer,
    compiled_modules,
    find_cross_attention_layers,
    find_joint_attention_layers,
)
from daam.tracing.plan import ModelCall, RowPlan, TextKey, TracedText
from daam.tracing.probe import Probe

logger = logging.getLogger(__name__)


class Capture:
    """Watches one model. A fault of its own ends the capture, is logged once and never reaches the model.

    Attributes:
        step: number under which the next calls' maps are kept, from 0; None counts the calls.

    The maps of a call are committed when the model returns: a call that fails midway leaves nothing behind, and of
    a layer that runs twice in one call (ControlNet's reference pass) the last run counts.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: RowPlan,
        *,
        keep_steps: bool = False,
        keep_heads: bool = False,
        probe: Probe | None = None,
    ):
        """
        Raises:
            TraceError: the model has no cross-attention, or it is compiled so that hooks would not run, or it has
                joint attention and is to be probed.
        """
        compiled = compiled_modules(model)
        if compiled:
            raise TraceError(
                f"expected a model that is not compiled: torch.compile skips hooks without a word, and {compiled[0]} "
                "is compiled; trace the model before compiling it, or trace the original (`model._orig_mod`)"
            )
        self.joint_layers = find_joint_attention_layers(model)
        self.layers = [] if self.joint_layers else find_cross_attention_layers(model)
        if probe is not None and self.joint_layers:
            raise TraceError("words that are not in the prompt cannot be probed in a model with joint attention")
        self._probe = probe
        self._keep_steps = keep_steps
        self._model = model
        self._plan = plan
        self._keep_details = keep_steps or keep_heads
        self._keep_heads = keep_heads
        self._rows: list[tuple[int, TracedText]] = []
        self._sizes: dict[nn.Module, tuple[int, int]] = {}
        self._queries: dict[str, tuple[Tensor, Tensor]] = {}
        self._joint: dict[str, dict[str, Tensor]] = {}
        self._latent_size = (0, 0)
        self._pending: dict[str, list[Contribution]] = {}
        self._indices: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}
        self._projections: list[Any] = []
        self.step: int | None = None
        self.restart()

    def restart(self) -> None:
        """Forgets everything, for the next generation."""
        self.accumulator = Accumulator(keep_steps=self._keep_steps)
        self.fault: Exception | None = None
        self.calls = 0
        self.calls_with_text = 0

    def install(self, stack: ExitStack) -> None:
        """Sets the hooks; the stack removes them."""
        stack.callback(self._forget_call)
        self._projections = self._find_projections()
        add_pre = functools.partial(self._model.register_forward_pre_hook, with_kwargs=True)
        stack.callback(add_pre(self._guarded(self._begin_call)).remove)
        stack.callback(self._model.register_forward_hook(self._guarded(self._end_call)).remove)
        for spatial in {layer.spatial: None for layer in self.layers}:
            hook = self._guarded(self._see_size)
            stack.callback(spatial.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for layer in self.layers:
            see_query = self._guarded(functools.partial(self._see_query, layer))
            stack.callback(layer.attention.to_q.register_forward_hook(see_query).remove)  # type: ignore[union-attr]
            for name in ("to_k", "to_kv"):
                projection = getattr(layer.attention, name, None)
                if isinstance(projection, nn.Module):
                    see_key = self._guarded(functools.partial(self._see_key, layer, name == "to_kv"))
                    stack.callback(projection.register_forward_hook(see_key).remove)

        for joint in self.joint_layers:
            parts = {"text key": joint.text.ln_k, "query": joint.image.ln_q, "key": joint.image.ln_k}
            for part, module in parts.items():
                see = self._guarded(functools.partial(self._see_joint, joint, part))
                stack.callback(module.register_forward_hook(see).remove)  # type: ignore[union-attr, operator]

    def _find_projections(self) -> list[Any]:
        names = ("to_q", "to_k", "to_kv")
        return [getattr(layer.attention, name, None) for layer in self.layers for name in names]

    def _guarded(self, hook: Callable[..., None]) -> Callable[..., None]:
        """The hook, silent after a fault and turning an exception of its own into one."""

        def run(*arguments: Any) -> None:
            if self.fault is not None:
                return
            try:
                with torch.no_grad():
                    hook(*arguments)
            except Exception as error:
                self.fault = error
                self._forget_call()
                logger.warning(
                    "the attention trace stopped, the picture is not affected: %s: %s",
                    type(error).__name__,
                    error,
                    exc_info=logger.isEnabledFor(logging.DEBUG),
                )

        return run

    def _forget_call(self) -> None:
        self._rows = []
        self._sizes.clear()
        self._queries.clear()
        self._joint.clear()
        self._pending.clear()

    def _begin_call(self, _model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._forget_call()
        if self._find_projections() != self._projections:
            raise TraceError(
                "the model's projections were replaced while it was traced, by a LoRA or by fusing, so that the query "
                "and the key in use are no longer seen; do that before the trace begins"
            )
        sample = _first_input(arguments, named)
        texts = self._plan(ModelCall(sample.shape[0], sample.shape[-2], sample.shape[-1]))
        if len(texts) != sample.shape[0]:
            raise ShapeError(f"expected a model call with {len(texts)} rows, got {sample.shape[0]}")
        self._latent_size = (sample.shape[-2], sample.shape[-1])
        self._rows = [(row, text) for row, text in enumerate(texts) if text is not None]

    def _see_size(self, spatial: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        height, width = _first_input(arguments, named).shape[-2:]
        self._sizes[spatial] = (height, width)

    def _see_query(
        self, layer: CrossAttentionLayer, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        if self._rows:
            self._queries[layer.name] = (inputs[0], output)

    def _see_key(
        self,
        layer: CrossAttentionLayer,
        is_fused: bool,
        projection: nn.Module,
        inputs: tuple[Tensor, ...],
        output: Tensor,
    ) -> None:
        if not self._rows or layer.name not in self._queries:
            return
        query_input, query = self._queries.pop(layer.name)
        if inputs[0] is query_input:  # called without a context: it attended to the picture itself
            return
        key = output.chunk(2, dim=-1)[0] if is_fused else output
        query, key = self._wanted_rows(query), self._wanted_rows(key)
        size = self._size_of(layer, query)
        query, key = split_heads(query, layer.heads), split_heads(key, layer.heads)
        self._pending[layer.name] = self._contributions(query, key, layer.scale, size)
        if self._probe is not None:
            probed = projection.forward(self._probe.vectors.to(output)[None])  # not a call, which would run this hook
            probed = split_heads(probed.chunk(2, dim=-1)[0] if is_fused else probed, layer.heads)
            self._pending[layer.name] += self._probe_contributions(self._probe, query, key, probed, layer.scale, size)

    def _see_joint(
        self, layer: JointAttentionLayer, part: str, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        """Gathers the parts; the image's key is the last that the model makes."""
        if not self._rows:
            return
        parts = self._joint.setdefault(layer.name, {})
        parts[part] = self._wanted_rows(output).transpose(1, 2)
        if part == "key":
            key = torch.cat([parts["text key"], parts["key"]], dim=2)
            size = self._size_in_patches(layer, parts["query"].shape[2])
            self._pending[layer.name] = self._contributions(parts["query"], key, None, size)
            del self._joint[layer.name]

    def _contributions(
        self, query: Tensor, key: Tensor, scale: float | None, size: tuple[int, int]
    ) -> list[Contribution]:
        """Query and key [row, head, position, channel] of the wanted rows; the text's columns are the first keys."""
        heads = query.shape[1]
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        if not self._keep_details:
            summed = sum_over_heads(query, key, scale)
            return [
                Contribution(text, self._columns(maps, text.columns, size), None, heads)
                for (_, text), maps in zip(self._rows, summed)
            ]
        found = []
        for (_, text), by_head in zip(self._rows, cross_attention_probabilities(query, key, scale)):
            total = by_head.sum(dim=0)
            detail = by_head if self._keep_heads else total[None]
            details = self._columns(detail, text.detail_columns, size) if text.detail_columns else None
            found.append(Contribution(text, self._columns(total, text.columns, size), details, heads))
        return found

    def _probe_contributions(
        self, probe: Probe, query: Tensor, key: Tensor, probed: Tensor, scale: float | None, size: tuple[int, int]
    ) -> list[Contribution]:
        """The probe's keys [1, head, token, channel] behind those of each picture's first positive text."""
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        own = key.shape[2]
        columns = tuple(own + column for column in probe.columns)
        found: dict[int, Contribution] = {}
        for number, (_, text) in enumerate(self._rows):
            if text.key.side != "positive" or text.key.image in found:
                continue
            keys = torch.cat([key[number : number + 1], probed], dim=2)
            maps = self._columns(sum_over_heads(query[number : number + 1], keys, scale)[0], columns, size)
            traced = TracedText(TextKey(text.key.image, "probe"), probe.columns)
            found[text.key.image] = Contribution(traced, maps, None, query.shape[1])
        return list(found.values())

    def _wanted_rows(self, tensor: Tensor) -> Tensor:
        """The rows with a text; neighbours are a view, not a copy."""
        rows = tuple(row for row, _ in self._rows)
        if rows[-1] - rows[0] + 1 == len(rows):
            return tensor[rows[0] : rows[-1] + 1]
        return tensor.index_select(0, self._index(rows, tensor.device))

    def _columns(self, probabilities: Tensor, columns: tuple[int, ...], size: tuple[int, int]) -> Tensor:
        """[…, position, token] to [len(columns), height, width], with leading axes as they were."""
        if max(columns) >= probabilities.shape[-1]:
            raise ShapeError(
                f"expected at least {max(columns) + 1} context columns for the prompt's tokens, "
                f"got {probabilities.shape[-1]}: the context was not made from this prompt"
            )
        chosen = probabilities.index_select(-1, self._index(columns, probabilities.device))
        return chosen.transpose(-1, -2).reshape(*chosen.shape[:-2], len(columns), *size)

    def _index(self, numbers: tuple[int, ...], device: torch.device) -> Tensor:
        """The numbers on the device; kept, so that no call copies them again."""
        if (numbers, device) not in self._indices:
            self._indices[numbers, device] = torch.tensor(numbers, device=device)
        return self._indices[numbers, device]

    def _size_of(self, layer: CrossAttentionLayer, query: Tensor) -> tuple[int, int]:
        height, width = self._sizes[layer.spatial]
        if height * width != query.shape[1]:
            raise ShapeError(
                f"expected {height}x{width} image positions in {layer.name}, got {query.shape[1]}; "
                "this model does not attend at the size of its transformer's input"
            )
        return height, width

    def _size_in_patches(self, layer: JointAttentionLayer, positions: int) -> tuple[int, int]:
        """The grid of patches, of any whole size, that the latent was cut into."""
        height, width = self._latent_size
        for patch in range(1, 9):
            if (height // patch) * (width // patch) == positions:
                return height // patch, width // patch
        raise ShapeError(f"expected patches of a {height}x{width} latent in {layer.name}, got {positions} positions")

    def _end_call(self, *_: Any) -> None:
        for layer, contributions in self._pending.items():
            for contribution in contributions:
                self.accumulator.add(layer, contribution, self.calls if self.step is None else self.step)
        self.calls += 1
        self.calls_with_text += bool(self._rows)
        self._forget_call()


def _first_input(arguments: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """The first argument of a call, however it was passed."""
    tensor = arguments[0] if arguments else next(iter(named.values()))
    if not isinstance(tensor, Tensor) or tensor.dim() < 4:
        raise ShapeError("expected a model whose first input is [batch, channel, height, width]")
    return tensor
