"""Joint attention: text and image attend to each other in one softmax, as in Flux, SD 3, Qwen-Image, Z-Image, Lumina.

One family for all of them. What differs from model to model is small, and one class says it (`JointModel`): which
modules are blocks, under which names they call the attention function, and where text and image stand in a call.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from daam.errors import ShapeError, TraceError
from daam.tracing.families.base import Attended, Outputs, Sample, Sight
from daam.tracing.families.diffusers_joint import DIFFUSERS_MODELS
from daam.tracing.families.forge_joint import FORGE_MODELS
from daam.tracing.families.joint_model import JointModel, Places, of_image
from daam.tracing.families.seam import Binding, Watch
from daam.tracing.families.second_text import Beside, SecondText
from daam.tracing.plan import Conditioning

JOINT_MODELS: list[type[JointModel]] = [*DIFFUSERS_MODELS, *FORGE_MODELS]
"""The last that knows a model has it: some of Forge Neo's classes have the names of diffusers'."""


class Joint:
    """The hooks: while a block runs, the watch sees what reaches its attention function."""

    refined_refusal: ClassVar[str | None] = (
        "a model with joint attention has no self-attention of the picture by itself, along which maps are refined"
    )
    outputs_refusal: ClassVar[str | None] = None
    blind_spot: ClassVar[str] = (
        "no block of the model was seen to attend to picture and prompt together, as this kind of model does"
    )
    calls_by_side: ClassVar[bool] = True

    def __init__(self, model: JointModel):
        self._model = model
        self._blocks = list(model.blocks())
        self._watches: dict[str, Watch] = {}
        self._bindings: dict[nn.Module, _Bindings] = {}
        self._places: Places | None = None
        self._stream = model.text_stream()
        self._second: SecondText | None = None
        self._beside: Beside | None = None

    @classmethod
    def find(cls, model: nn.Module) -> Joint | None:
        found = (kind.find(model) for kind in reversed(JOINT_MODELS))
        return next((cls(kind) for kind in found if kind is not None), None)

    @property
    def probe_refusal(self) -> str | None:
        if self._stream is not None:
            return None
        return (
            "words that are not in the prompt can be probed where text and image each have a stream of their own, as "
            f"in Flux; {self._model.name} has none that is known"
        )

    def install(self, stack: ExitStack, sight: Sight) -> None:
        if self._stream is not None and sight.words is not None:
            self._second = SecondText(self._stream, sight.words)
        stack.callback(self._forget_words)
        for block in self._blocks:
            look = sight.guard(functools.partial(self._look, sight, block.name))
            watch = self._watches[block.name] = Watch(look)
            stack.callback(watch.leave)
            begin = sight.guard(functools.partial(self._begin_block, watch))
            end = functools.partial(_end_block, watch)
            stack.callback(block.module.register_forward_pre_hook(begin, with_kwargs=True).remove)
            stack.callback(block.module.register_forward_hook(end, always_call=True).remove)

    def _forget_words(self) -> None:
        self._second = self._beside = None

    def sample(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sample:
        self._places = self._model.places(arguments, named)
        return self._places.sample

    def conditioning(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Conditioning | None:
        return None if self._places is None else self._places.conditioning

    def replaced_self_attention(self) -> str | None:
        return None

    def begin_call(self) -> None:
        for watch in self._watches.values():
            watch.end()
        self._places = self._beside = None
        if self._second is not None:
            self._second.begin_call()

    def _begin_block(
        self, watch: Watch, block: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        bindings = self._bindings_of(block)
        if self._second is not None and self._places is not None:
            self._beside = self._second.run(block, arguments, named, bindings, self._places.first_column)
        watch.begin(block, bindings)

    def _bindings_of(self, block: nn.Module) -> Sequence[Binding]:
        """Found once, since all of a block's modules are gone through; again when an attention's processor is new."""
        known = self._bindings.get(block)
        if known is None or known.processors != _processors_of(known.attending):
            attending = [module for module in block.modules() if hasattr(module, "processor")]
            known = _Bindings(self._model.bindings(block), attending, _processors_of(attending))
            self._bindings[block] = known
        return known.found

    def _look(
        self,
        sight: Sight,
        name: str,
        binding: Binding,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        result: Any,
    ) -> None:
        call, places = binding.read(arguments, named, result), self._places
        if places is None or call.query.shape[1] != places.positions or call.key.shape[1] != places.tokens:
            return  # a second attention of the picture to itself, or to a picture that it is to be like
        if call.refusal is not None:
            raise TraceError(f"{name}: {call.refusal}")
        if len(call.query) != places.sample.rows:
            raise ShapeError(
                f"expected {places.sample.rows} rows in {name}, got {len(call.query)}: something runs some of the rows "
                "by themselves, as perturbed-attention guidance does"
            )
        query, heads, beside = call.query, call.query.shape[2], self._beside
        key = call.key.repeat_interleave(heads // call.key.shape[2], dim=2) if call.key.shape[2] != heads else call.key
        key_of = None if beside is None else functools.partial(_key_of, beside)
        mask = None if call.mask is None else of_image(call.mask, places, dim=2)
        query = of_image(query, places, dim=1)
        first = places.first_column
        sight.see(Attended(name, query, (key,), heads, call.scale, places.grid, first, key_of, mask=mask))
        if sight.see_outputs is not None:
            image, text = of_image(call.result, places, dim=1), call.result[:, first:]
            words = None if beside is None else beside.output.flatten(2)
            sight.see_outputs(Outputs(name, image.flatten(2), text.flatten(2), places.grid, words))


class _Bindings(NamedTuple):
    """A block's, and what they were found by: its attentions, and the kinds of their processors."""

    found: Sequence[Binding]
    attending: list[nn.Module]
    processors: list[type]


def _processors_of(attending: Sequence[nn.Module]) -> list[type]:
    return [type(getattr(module, "processor", None)) for module in attending]


def _key_of(beside: Beside, _vectors: Tensor) -> Tensor:
    """What `Attended.key_of` wants, which a block has made already, of the words as they came to it."""
    return beside.key


def _end_block(watch: Watch, block: nn.Module, *_: Any) -> None:
    watch.end(block)
