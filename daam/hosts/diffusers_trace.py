"""Traces a diffusers pipeline: which prompts it encodes, which rows its UNet gets, and the maps of each picture."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import nn

from daam.errors import SettingError, ShapeError, TraceError
from daam.hosts.diffusers_probe import probe_of
from daam.hosts.diffusers_prompts import listen_to_prompts
from daam.hosts.diffusers_tokens import plain_table
from daam.maps.heat_maps import HeatMaps
from daam.prompt.table import PromptTable
from daam.prompt.terms import parse_terms
from daam.tracing.capture import Capture
from daam.tracing.image_trace import ImageTrace
from daam.tracing.plan import ModelCall, Side, TracedText
from daam.tracing.probe import Probe
from daam.tracing.texts import TextBook

logger = logging.getLogger(__name__)
KEEP = ("steps", "heads")


@dataclass(frozen=True)
class TracedPrompts:
    """The prompts of one generation: one pair of token tables for each picture, in the pipeline's order."""

    positive: tuple[PromptTable, ...]
    negative: tuple[PromptTable | None, ...]


def trace(pipeline: Any, *, keep: str | Iterable[str] = (), terms: str = "", probe: str = "") -> Tracer:
    """Watches a Stable Diffusion pipeline of diffusers (1.x, 2.x, XL; text to image, img2img, inpaint).

    >>> with daam.trace(pipe) as tracer:
    ...     picture = pipe("a red circle", num_inference_steps=2).images[0]
    >>> list(tracer.heat_maps())
    ['a', 'red', 'circle']
    >>> tracer.heat_maps()["circle"].overlay(picture, opacity=0.6).size
    (128, 128)

    Single steps are kept on request, for the terms that are named:

    >>> with daam.trace(pipe, keep="steps", terms="circle") as tracer:
    ...     picture = pipe("a red circle", num_inference_steps=3).images[0]
    >>> early = tracer.heat_maps().select(steps=(0, 1))
    >>> early["circle"].values.shape
    (128, 128)

    Args:
        pipeline: has `unet`, `tokenizer` and `encode_prompt`. It may run several times inside; the last run counts.
        keep: "steps", "heads" or both: axes to keep besides the layers, for `terms`. Memory then grows with them.
        terms: comma-separated terms to keep those axes for; empty means every word.
        probe: comma-separated words that need not be in the prompt; `heat_maps(side="probe")` then has their maps.

    Raises:
        SettingError: `keep` is not one of the two words.
        TermError: `probe` cannot be read.
        TraceError: the pipeline has no UNet with cross-attention, or it is compiled.
    """
    if not isinstance(keep, Iterable):
        raise SettingError(f"keep: expected {' or '.join(map(repr, KEEP))}, got {keep!r}")
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    unknown = [axis for axis in kept if axis not in KEEP]
    if unknown:
        raise SettingError(f"keep: expected {' or '.join(map(repr, KEEP))}, got {unknown[0]!r}")
    return Tracer(pipeline, kept, terms, probe)


class Tracer:
    """What `trace` gives: a context that watches, and afterwards the heat maps.

    >>> with daam.trace(pipe, probe="grass") as tracer:
    ...     pictures = pipe("a red circle", num_images_per_prompt=2, num_inference_steps=2).images
    >>> tracer.images
    2
    >>> list(tracer.heat_maps(image=1)), list(tracer.heat_maps(image=1, side="probe"))
    (['a', 'red', 'circle'], ['grass'])

    It may be entered again after it was left. Two tracers of one pipeline may be nested: each sees everything.
    """

    def __init__(self, pipeline: Any, keep: tuple[str, ...], terms: str, probe: str):
        unet = getattr(pipeline, "unet", None)
        if not isinstance(unet, nn.Module) or not callable(getattr(pipeline, "encode_prompt", None)):
            raise TraceError(
                f"expected a diffusers pipeline with a UNet and `encode_prompt`, got {type(pipeline).__name__}"
            )
        self._pipeline = pipeline
        self._keep = keep
        self._terms = parse_terms(terms)
        self._probe_terms = parse_terms(probe)
        self._probe: Probe | None = None
        self._prompts: TracedPrompts | None = None
        self._texts = self._new_texts()
        self._is_expected = False
        self._fault: Exception | None = None
        self._size = (0, 0)
        self._stack: ExitStack | None = None
        self._capture = self._new_capture()

    def __enter__(self) -> Tracer:
        if self._stack is not None:
            raise TraceError("this tracer is already watching; leave its `with` block first, or make another tracer")
        self._probe = probe_of(self._pipeline, self._probe_terms) if self._probe_terms else None
        self._capture = self._new_capture()
        self._begin(None)
        with ExitStack() as stack:
            stack.callback(listen_to_prompts(self._pipeline, self._see_prompts))
            self._capture.install(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def heat_maps(self, image: int = 0, *, side: Side = "positive") -> HeatMaps:
        """The heat maps of one picture of the last generation.

        Args:
            image: number of the picture, in the order of `pipe(...).images`.
            side: "negative" for the words of the negative prompt, "probe" for those of the `probe` argument.

        Raises:
            TraceError: nothing was traced, with the reason.
        """
        return HeatMaps(self.image_trace(image), side=side)

    def image_trace(self, image: int = 0) -> ImageTrace:
        """Everything that was kept of one picture, on the CPU.

        Raises:
            TraceError: as for `heat_maps`.
        """
        fault = self._fault or self._capture.fault
        if fault is not None:
            raise TraceError(f"the trace stopped with {type(fault).__name__}: {fault}") from fault
        if self._prompts is None or self._capture.calls == 0:
            raise TraceError(
                "nothing was traced: run the pipeline inside `with daam.trace(pipe) as tracer:`, with a prompt "
                "(for `prompt_embeds`, call `tracer.expect(tables)` first)"
            )
        if not 0 <= image < len(self._prompts.positive):
            raise TraceError(f"expected an image of 0..{len(self._prompts.positive) - 1}, got {image}")
        if self._capture.calls_with_text and not self._capture.accumulator.texts:
            raise TraceError("nothing was traced: the model's attention processors do not call `to_q` and `to_k`")
        texts = self._capture.accumulator.on_cpu(image)
        positive, negative = self._prompts.positive[image], self._prompts.negative[image]
        probe = self._probe.table if self._probe is not None else None
        return ImageTrace(self._size, positive, negative, texts, self._capture.calls, self._keep, probe=probe)

    @property
    def images(self) -> int:
        """Number of pictures in the last generation."""
        return 0 if self._prompts is None else len(self._prompts.positive)

    def expect(self, positive: Sequence[PromptTable], negative: Sequence[PromptTable | None] | None = None) -> None:
        """Says what the next generation's embeddings were made from, one table for each picture.

        For callers that pass `prompt_embeds`; prompts that are passed as text are seen without it.

        Raises:
            SettingError: there are not as many negative tables as positive ones.
        """
        negative = negative or [None] * len(positive)
        if len(negative) != len(positive):
            raise SettingError(f"expected {len(positive)} negative tables, one for each picture, got {len(negative)}")
        self._begin(TracedPrompts(tuple(positive), tuple(negative)))
        self._is_expected = True

    def _begin(self, prompts: TracedPrompts | None, fault: Exception | None = None) -> None:
        """Forgets the last generation and begins one of these prompts."""
        self._capture.restart()
        self._prompts, self._fault, self._is_expected = prompts, fault, False
        self._texts = self._new_texts()

    def _new_texts(self) -> TextBook:
        return TextBook(keep_details=bool(self._keep), terms=self._terms)

    def _new_capture(self) -> Capture:
        steps, heads = "steps" in self._keep, "heads" in self._keep
        return Capture(self._pipeline.unet, self._rows, keep_steps=steps, keep_heads=heads, probe=self._probe)

    def _see_prompts(self, arguments: dict[str, Any]) -> None:
        if arguments.get("prompt") is None or arguments.get("prompt_embeds") is not None:
            if self._is_expected:
                self._is_expected = False
            else:
                self._begin(None)
            return
        try:
            per_prompt = arguments.get("num_images_per_prompt", 1)
            prompts = _as_list(arguments["prompt"])
            negatives = _as_list(arguments.get("negative_prompt") or "")
            if len(negatives) == 1:
                negatives *= len(prompts)
            tables = {prompt: self._table(prompt) for prompt in {*prompts, *negatives}}
            positive = [tables[prompt] for prompt in prompts for _ in range(per_prompt)]
            negative = [tables[prompt] for prompt in negatives for _ in range(per_prompt)]
            self._begin(TracedPrompts(tuple(positive), tuple(negative)))
        except Exception as error:  # whatever it is, the picture goes on
            self._begin(None, error)
            logger.warning("the prompts cannot be traced, the picture is not affected: %s", error)

    def _table(self, prompt: str) -> PromptTable:
        """SDXL's refiner has only the second tokenizer; elsewhere both give the same positions."""
        tokenizer = self._pipeline.tokenizer or self._pipeline.tokenizer_2
        convert = getattr(self._pipeline, "maybe_convert_prompt", None)
        return plain_table(prompt, tokenizer, convert(prompt, tokenizer) if convert else None)

    def _rows(self, call: ModelCall) -> Sequence[TracedText | None]:
        if self._prompts is None:
            return [None] * call.rows
        factor = self._pipeline.vae_scale_factor
        self._size = (call.height * factor, call.width * factor)
        images = len(self._prompts.positive)
        sides: dict[int, list[Side]] = {images: ["positive"], 2 * images: ["negative", "positive"]}
        if call.rows not in sides:
            raise ShapeError(
                f"expected {images} rows, or {2 * images} with guidance, for {images} pictures; got {call.rows}: "
                "this pipeline batches its guidance in a way that is not known here"
            )
        return [self._text(image, side) for side in sides[call.rows] for image in range(images)]

    def _text(self, image: int, side: Side) -> TracedText | None:
        assert self._prompts is not None
        table = (self._prompts.positive if side == "positive" else self._prompts.negative)[image]
        if table is None:
            return None
        return self._texts.text(image, side, table.parts[0], 0, self._capture.calls)


def _as_list(prompt: str | Sequence[str]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else list(prompt)
