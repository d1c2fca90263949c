"""Traces a diffusers pipeline: which prompts it encodes, which rows its model gets, and the maps of each picture."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from torch import Tensor

from daam.errors import SettingError, ShapeError, TraceError, describe
from daam.hosts.diffusers_probe import probe_of
from daam.hosts.diffusers_prompts import Encoded, Given, model_of, per_picture, prompts_of
from daam.hosts.diffusers_steps import Steps
from daam.hosts.listening import listen
from daam.maps.heat_maps import HeatMaps
from daam.maps.readings import OUTPUTS, REFINED
from daam.prompt.table import PromptTable, active_entry
from daam.prompt.terms import every_word, parse_terms
from daam.tracing.capture import Capture
from daam.tracing.conditioning import Conditioned, ConditioningBook
from daam.tracing.image_trace import ImageTrace, Region
from daam.tracing.latest import LatestOfImage
from daam.tracing.plan import Conditioning, ModelCall, Side, TextKey, TracedText
from daam.tracing.probe import Probe
from daam.tracing.refined_maps import with_refined
from daam.tracing.text_maps import TextMaps
from daam.tracing.texts import TextBook

logger = logging.getLogger(__name__)
KEEP = ("steps", "heads", *REFINED, OUTPUTS)


@dataclass(frozen=True)
class TracedPrompts:
    """The prompts of one generation: one pair of token tables for each picture, in the pipeline's order."""

    positive: tuple[PromptTable, ...]
    negative: tuple[PromptTable | None, ...]

    def of(self, side: Side) -> tuple[PromptTable | None, ...]:
        return self.positive if side == "positive" else self.negative


@dataclass
class EncodedPrompts:
    """What a pipeline encoded at once: the prompts, what came of them, and SDXL's second prompt where it is another."""

    prompts: TracedPrompts | None = None
    known: ConditioningBook = field(default_factory=ConditioningBook)
    second_prompt: str | None = None

    def repeat(self, pictures: int) -> None:
        """As many pictures of each prompt as there are."""
        if self.prompts is None:
            return
        count, sides = len(self.prompts.positive), (self.prompts.positive, self.prompts.negative)
        self.prompts = TracedPrompts(*(tuple(per_picture(side, pictures)) for side in sides))
        self.known = self.known.repeated(pictures // count)

    def condition(self, conditioning: Conditioning | None) -> bool:
        """Whether a row was made from the first picture's prompt."""
        rows = [] if conditioning is None else self.known.candidates(conditioning)
        return any((text.image, text.side) == (0, "positive") for texts in rows for text in texts)


MOST_ENCODED = 8
"""How many earlier prompts are remembered that were encoded before the model was called."""


def trace(pipeline: Any, *, keep: str | Iterable[str] = (), terms: str = "", probe: str = "") -> Tracer:
    """Watches a pipeline of diffusers: Stable Diffusion 1.x, 2.x, XL, 3, Flux and others (docs/diffusers.md has them).

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

    Maps that follow outlines, see `HeatMaps.select`:

    >>> with daam.trace(pipe, keep="refined") as tracer:
    ...     picture = pipe("a red circle", num_inference_steps=2).images[0]
    >>> tracer.heat_maps().select(reading="refined")["circle"].values.shape
    (128, 128)

    Args:
        pipeline: has `unet` or `transformer`, and `encode_prompt`. It may run several times; the last run counts.
        keep: "steps", "heads" or both: axes to keep besides the layers, for `terms`. Memory then grows with them.
            "refined": the refined maps of every word that names something too, which takes up to 256 MiB on the model's
            device and some work at the end; "refined if cheap": only where that is well under a second and 64 MiB.
            "outputs": maps in the attention's output space too, for `select(reading="output")`, where text and image
            have joint attention.
        terms: comma-separated terms to keep those axes for; empty means every word.
        probe: comma-separated words that need not be in the prompt; `heat_maps(side="probe")` then has their maps.

    Raises:
        SettingError: `keep` has another word.
        TermError: `probe` cannot be read.
        TraceError: the pipeline's model, or the way it encodes prompts, is none that is known, or it is compiled.
    """
    if not isinstance(keep, Iterable):
        raise SettingError(f"keep: expected {', '.join(map(repr, KEEP))}, got {keep!r}")
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    unknown = [axis for axis in kept if axis not in KEEP]
    if unknown:
        raise SettingError(f"keep: expected {', '.join(map(repr, KEEP))}, got {unknown[0]!r}")
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
        self._pipeline = pipeline
        self._model = model_of(pipeline)
        self._keep = tuple(axis for axis in keep if axis not in (*REFINED, OUTPUTS))
        self._with_outputs = OUTPUTS in keep
        self._refined = next((budget for name, budget in REFINED.items() if name in keep), None)
        self._refined_of: dict[tuple[int, int], tuple[dict[TextKey, TextMaps], str]] = {}
        self._terms = parse_terms(terms)
        self._probe_terms = parse_terms(probe)
        self._probe: Probe | None = None
        self._encoded = EncodedPrompts()
        self._earlier: list[EncodedPrompts] = []
        self._texts = self._new_texts()
        self._is_expected = self._are_all = False
        self._fault: Exception | None = None
        self._size = (0, 0)
        self._latents: tuple[int, int] | None = None
        self._crop: tuple[tuple[int, int], Region] | None = None
        self._strange = self._tuning = self._repeated = 0
        self._steps = Steps()
        self._is_first_call, self._has_mixed_masks = True, False
        self._cut_short: str | None = None
        self._stack: ExitStack | None = None
        self._capture = self._new_capture()
        self._kind = prompts_of(pipeline)
        if probe and self._capture.family.probe_refusal:
            raise TraceError(self._capture.family.probe_refusal)
        if self._with_outputs and self._capture.family.outputs_refusal:
            raise TraceError(f"there are no maps in the output space: {self._capture.family.outputs_refusal}")

    def __enter__(self) -> Tracer:
        if self._stack is not None:
            raise TraceError("this tracer is already watching; leave its `with` block first, or make another tracer")
        self._probe = probe_of(self._pipeline, self._probe_terms) if self._probe_terms else None
        self._capture = self._new_capture()
        self._begin(None)
        with ExitStack() as stack:
            stack.callback(listen(self._pipeline, "encode_prompt", self._see_prompts))
            for method, see in (("prepare_latents", self._see_latents), ("check_inputs", self._see_start)):
                if callable(getattr(self._pipeline, method, None)):
                    stack.callback(listen(self._pipeline, method, see))
            for processor, method, look in (
                ("mask_processor", "get_crop_region", self._see_crop),
                ("image_processor", "apply_overlay", self._see_pasted),
            ):
                if callable(getattr(getattr(self._pipeline, processor, None), method, None)):
                    stack.callback(listen(getattr(self._pipeline, processor), method, look))
            self._capture.install(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cut_short = self._why_cut_short(error)
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
            raise TraceError(f"the trace stopped: {describe(fault)}") from fault
        if self._capture.calls == 0:
            raise TraceError(self._why_never_called())
        if self._prompts is None:
            raise TraceError(
                "nothing was traced: no prompt was seen, since the pipeline was given embeddings, or encodes a prompt "
                "by another method than `encode_prompt`; say what the embeddings were made from with "
                "`tracer.expect([text])` before the pipeline runs"
            )
        if not 0 <= image < len(self._prompts.positive):
            raise TraceError(f"expected an image of 0..{len(self._prompts.positive) - 1}, got {image}")
        if self._capture.calls_with_text and self._capture.accumulator.is_empty:
            raise TraceError(f"nothing was traced: {self._capture.family.blind_spot}")
        self._encoded.known.check()
        self._capture.check()
        texts, not_refined = self._texts_of(image)
        positive, negative = self._prompts.positive[image], self._prompts.negative[image]
        if self._strange and not any(key.side == "positive" for key in texts) and every_word(positive):
            raise TraceError(
                f"nothing was traced of picture {image}: its prompt, as the pipeline encoded it, conditioned no row of "
                f"the model's calls, and {self._strange} rows were conditioned by something else; say what embeddings "
                "were made from with `tracer.expect([text])` before the pipeline runs"
            )
        probe = self._probe.table if self._probe is not None else None
        size, region = self._crop or (self._size, None)
        remarks = tuple(self.notes)
        keep = (*self._keep, "refined") if self._refined is not None and not not_refined else self._keep
        keep += (OUTPUTS,) if self._with_outputs else ()
        return ImageTrace(size, positive, negative, texts, self._calls, keep, region, probe, remarks, not_refined)

    def self_attention(self, image: int = 0) -> LatestOfImage:
        """What one picture's refined maps are made along, on the model's device, as long as it is held: inside `with`.

        Raises:
            TraceError: refined maps were not asked for, or cannot be made; the text says why.
        """
        if self._capture.latest is None:
            raise TraceError('self-attention was not kept: trace with `daam.trace(pipe, keep="refined")`')
        return self._capture.latest.of(image)

    @property
    def held_bytes(self) -> int:
        """Of the queries and keys that are held for refined maps, on the model's device."""
        return 0 if self._capture.latest is None else self._capture.latest.held_bytes

    def _texts_of(self, image: int) -> tuple[dict[TextKey, TextMaps], str]:
        """The maps of one picture's texts on the CPU, and why they have no refined maps; refined once after a call."""
        texts = self._capture.texts(image)
        if self._capture.latest is None:
            return texts, ""
        key = (self._capture.calls, image)
        if key not in self._refined_of:
            self._refined_of[key] = with_refined(texts, self._capture.latest, image)
            if self._stack is None:  # no call will come any more
                self._capture.latest.let_go(image)
        return self._refined_of[key]

    def _why_never_called(self) -> str:
        if self._prompts is None:
            return (
                "nothing was traced: no prompt was seen and the model was not called; run this very pipeline inside "
                "`with daam.trace(pipe) as tracer:`"
            )
        return (
            "nothing was traced: a prompt was read, but no call of the pipeline's model came to its end; the pipeline "
            "failed or was stopped before its first step, or samples with another model than `pipe.unet` or "
            "`pipe.transformer`"
        )

    @property
    def notes(self) -> list[str]:
        """What to know of the last generation's maps, in sentences; none where they are all that they seem."""
        found = []
        cut_short = self._cut_short if self._stack is None else self._why_cut_short(None)
        if cut_short is not None:
            found.append(cut_short)
        if self._strange:
            found.append(
                f"{self._strange} rows of {self._capture.calls} model calls were conditioned by something else than "
                "the prompts, as the pipeline encoded them; they are not counted"
            )
        if self._tuning:
            found.append(
                f"{self._tuning} of {self._capture.calls} model calls were made to change the latents by their "
                "gradients, not to sample; they are not counted"
            )
        if self._repeated:
            found.append(
                f"{self._repeated} of {self._capture.calls} model calls looked again at a text of the same step, as "
                "guidance by a further pass does; the first one counts"
            )
        if self._has_mixed_masks:
            found.append(
                "diffusers mixed up the masks of several images of prompts of different lengths: some images attended "
                "to a part of their own prompt, or beyond it; give each prompt as often as images of it are wanted"
            )
        if self._encoded.second_prompt is not None:
            found.append(self._kind.second_note.format(repr(self._encoded.second_prompt)))
        return found

    def _why_cut_short(self, error: BaseException | None) -> str | None:
        """What to say of a generation that did not come to its end; args: error: what left the `with` block."""
        calls, planned = self._calls, getattr(self._pipeline, "num_timesteps", 0)
        if not 0 < calls < planned or not (error is not None or getattr(self._pipeline, "interrupt", False)):
            return None
        return f"the generation was interrupted: the maps cover only the first {calls} of {planned} model calls"

    @property
    def _calls(self) -> int:
        """Of the model; steps, where each side of a step has a call of its own."""
        return self._capture.calls if self._capture.step is None else self._steps.number + 1

    @property
    def _prompts(self) -> TracedPrompts | None:
        return self._encoded.prompts

    @property
    def images(self) -> int:
        """Number of pictures in the last generation."""
        return 0 if self._prompts is None else len(self._prompts.positive)

    def expect(
        self,
        positive: Sequence[PromptTable | str],
        negative: Sequence[PromptTable | str | None] | None = None,
        *,
        are_all: bool = False,
    ) -> None:
        """Says what the next generation's embeddings were made from, one text or table for each picture.

        For callers that pass `prompt_embeds`, made by compel and its kin, say; prompts that are passed as text are seen
        without it.

        >>> embeddings, _ = pipe.encode_prompt("a red circle", "cpu", 1, False)
        >>> with daam.trace(pipe) as tracer:
        ...     tracer.expect(["a red circle"])
        ...     picture = pipe(prompt_embeds=embeddings, guidance_scale=1.0, num_inference_steps=2).images[0]
        >>> list(tracer.heat_maps())
        ['a', 'red', 'circle']

        Args:
            positive, negative: plain text, as the pipeline's own tokenizer cuts it, or a token table.
            are_all: a text that `encode_prompt` gets until the next `expect` is no prompt of these pictures.

        Raises:
            SettingError: there are not as many negative texts as positive ones, or they are neither text nor table.
            PromptError: a text and its tokens cannot be brought together.
        """
        negative = negative or [None] * len(positive)
        if isinstance(positive, str):
            raise SettingError("expected a list with a text or table for each picture, got one text")
        if len(negative) != len(positive):
            raise SettingError(f"expected {len(positive)} negative tables, one for each picture, got {len(negative)}")
        tables = [self._expected_table(text) for text in positive]
        negative_tables = [None if text is None else self._expected_table(text) for text in negative]
        self._begin(TracedPrompts(tuple(tables), tuple(negative_tables)))
        self._is_expected, self._are_all = True, are_all

    def learn(self, text: Conditioned, context: Tensor) -> None:
        """Says what a text is encoded to, for callers that hand the pipeline other embeddings on the way.

        Args:
            context: [column, channel].
        """
        self._encoded.known.learn(text, context)

    def _expected_table(self, text: PromptTable | str) -> PromptTable:
        if isinstance(text, PromptTable):
            return text
        if not isinstance(text, str):
            raise SettingError(f"expected a text or a token table, got {type(text).__name__}")
        return self._kind.table(text, {}, "positive")

    def _begin(self, prompts: TracedPrompts | None, fault: Exception | None = None) -> None:
        """Forgets the last generation and begins one of these prompts.

        What was encoded before it, without a call of the model, may be what conditions it all the same: CycleDiffusion
        encodes the text of its source last.
        """
        is_waiting = self._capture.calls == 0 and self._prompts is not None
        self._earlier = [*self._earlier, self._encoded][-MOST_ENCODED:] if is_waiting else []
        self._capture.restart()
        self._encoded, self._fault, self._is_expected = EncodedPrompts(prompts), fault, False
        self._steps = Steps()
        self._strange = self._tuning = self._repeated = 0
        self._has_mixed_masks = False
        self._refined_of = {}
        self._latents = self._crop = self._cut_short = None
        self._texts = self._new_texts()

    def _new_texts(self) -> TextBook:
        return TextBook(
            keep_details=bool(self._keep),
            terms=self._terms,
            is_refined=self._refined is not None,
            with_outputs=self._with_outputs,
        )

    def _new_capture(self) -> Capture:
        steps, heads = "steps" in self._keep, "heads" in self._keep
        return Capture(
            self._model,
            self._rows,
            keep_steps=steps,
            keep_heads=heads,
            probe=self._probe,
            refined=self._refined,
            keep_outputs=self._with_outputs,
        )

    def _see_start(self, _arguments: Given, _result: Any) -> None:
        """A generation begins; what is encoded first in it is the positive prompt."""
        self._is_first_call = True

    def _see_prompts(self, given: Given, result: Any) -> None:
        self._capture.thread = threading.get_ident()  # another thread may run a pipeline that shares the model
        is_negative = self._kind.has_own_calls and not self._is_first_call and self._capture.calls == 0
        self._is_first_call = False
        if self._are_all and self._kind.prompts(given, "positive") is not None:
            return
        try:
            encoded = self._kind.encoded(result)
            self._has_mixed_masks &= is_negative
            if is_negative:
                self._read_negative(given, encoded["positive"])
            else:
                self._read_prompts(given, encoded)
        except Exception as error:  # whatever it is, the picture goes on
            self._begin(None, error)
            logger.warning("the prompts cannot be traced, the picture is not affected: %s", describe(error))

    def _read_prompts(self, given: Given, encoded: dict[Side, Encoded]) -> None:
        positive = self._tables(given, "positive", encoded.get("positive"))
        if positive is None:
            if self._is_expected:
                self._is_expected = False
            else:
                self._begin(None)
        else:
            negative: Sequence[PromptTable | None] = [None] * len(positive)
            if not self._kind.has_own_calls:
                negative = self._tables(given, "negative", encoded.get("negative"), len(positive)) or negative
            has_mixed_masks = self._has_mixed_masks
            self._begin(TracedPrompts(tuple(positive), tuple(negative)))
            self._has_mixed_masks = has_mixed_masks
            second = self._kind.second_prompts(given)
            self._encoded.second_prompt = ", ".join(second) if second else None
        for side, contexts in encoded.items():
            self._learn(side, contexts)

    def _read_negative(self, given: Given, encoded: Encoded) -> None:
        if self._prompts is None:
            return
        tables = self._tables(given, "positive", encoded)
        if tables is not None:
            self._encoded.prompts = replace(self._prompts, negative=tuple(tables))
        self._learn("negative", encoded)

    def _tables(
        self, given: Given, side: Side, encoded: Encoded | None, pictures: int | None = None
    ) -> list[PromptTable] | None:
        """A table for each picture, as its text was really encoded; None where no text was given.

        Args: pictures: their number, where nothing was encoded.
        """
        prompts = self._kind.prompts(given, side)
        if prompts is None:
            return None
        known = {prompt: self._kind.table(prompt, given, side) for prompt in dict.fromkeys(prompts)}
        if encoded is None:
            return per_picture([known[prompt] for prompt in prompts], pictures or len(prompts))
        found = per_picture(prompts, len(encoded.contexts))
        try:
            return self._fitted(found, known, encoded.contexts, encoded.lengths)
        except TraceError:
            if encoded.lengths is None or len(found) == len(prompts):
                raise
            tables = self._fitted(
                found, known, encoded.contexts, per_picture(encoded.lengths[: len(prompts)], len(found))
            )
            self._has_mixed_masks = True
            return tables

    def _fitted(
        self,
        prompts: Sequence[str],
        known: Mapping[str, PromptTable],
        contexts: Sequence[Tensor],
        lengths: Sequence[int] | None,
    ) -> list[PromptTable]:
        own: Sequence[int | None] = [None] * len(prompts) if lengths is None else lengths
        sizes = [(prompt, len(context), length) for prompt, context, length in zip(prompts, contexts, own)]
        tables = {size: self._kind.fitted(known[size[0]], *size[1:]) for size in dict.fromkeys(sizes)}
        return [tables[size] for size in sizes]

    def _learn(self, side: Side, encoded: Encoded) -> None:
        """Args: encoded: the contexts [column, channel] of a side, one for each picture."""
        if self._prompts is None:
            return
        if len(encoded.contexts) != self.images:
            raise ShapeError(f"expected {side} embeddings for {self.images} pictures, got {len(encoded.contexts)}")
        for image, context in enumerate(encoded.contexts):
            table = self._prompts.of(side)[image]
            if table is not None:
                self._encoded.known.learn(Conditioned(image, side, active_entry(table.parts[0], 0)), context)

    def _see_latents(self, _arguments: Given, latents: Any) -> None:
        tensor = latents[0] if isinstance(latents, tuple) else latents
        if isinstance(tensor, Tensor) and tensor.dim() == 4:
            self._latents = (tensor.shape[-2], tensor.shape[-1])
            if self._kind.repeats_later and self._prompts is not None and len(tensor) != self.images:
                self._encoded.repeat(len(tensor))

    def _see_crop(self, arguments: dict[str, Any], crop: Any) -> None:
        """Inpainting with `padding_mask_crop`: the maps lie where the crop is pasted into the picture."""
        width, height = arguments["mask_image"].size
        left, top, right, bottom = (int(edge) for edge in crop)
        self._crop = ((height, width), (left, top, right - left, bottom - top))

    def _see_pasted(self, _arguments: dict[str, Any], picture: Any) -> None:
        """Versions of diffusers before 0.28 paste the crop into a picture of the size that was generated."""
        if self._crop is not None:
            self._crop = ((picture.height, picture.width), self._crop[1])

    def _rows(self, call: ModelCall) -> Sequence[TracedText | None]:
        for encoded in self._earlier:
            if encoded.condition(call.conditioning):
                self._encoded = encoded
                break
        self._earlier = []
        if self._prompts is None:
            return [None] * call.rows
        if call.is_tuning:
            self._tuning += 1
            return [None] * call.rows
        factor = self._pipeline.vae_scale_factor
        self._size = (call.height * factor, call.width * factor)
        if self._latents not in (None, (call.height, call.width)):
            raise ShapeError(
                f"expected the model to work on the whole latent of {self._latents}, got {(call.height, call.width)}: "
                "this pipeline works in windows, whose maps cannot be put together"
            )
        if call.conditioning is None or len(call.conditioning) != call.rows:
            raise ShapeError(f"expected a text for each of {call.rows} rows, got none that can be told apart")
        candidates = self._encoded.known.candidates(call.conditioning)
        self._strange += sum(not texts for texts in candidates)
        found, is_repeated = self._steps.texts(call.timestep, candidates, self.images, self._capture.calls)
        self._repeated += is_repeated
        if self._capture.family.calls_by_side:
            self._capture.step = max(self._steps.number, 0)
        return [None if text is None else self._text(text) for text in found]

    def _text(self, text: Conditioned) -> TracedText | None:
        assert self._prompts is not None
        table = self._prompts.of(text.side)[text.image]
        return None if table is None else self._texts.text(text.image, text.side, table.parts[0], 0, text.entry)
