"""Generates pictures with a diffusers pipeline, traced; a UNet's from a prompt in the WebUI's syntax."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor

from daam.errors import PromptError, SettingError, TraceError
from daam.hosts.diffusers_encode import Encoded, TextEncoding
from daam.hosts.diffusers_models import DEFAULT_SAMPLER, name_of, set_sampler
from daam.hosts.diffusers_plain import plain_arguments, plain_remarks
from daam.hosts.diffusers_trace import Tracer, trace
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.prompt.table import ScheduleEntry, active_entry
from daam.results.result import Notes, Result, now
from daam.tracing.conditioning import Conditioned
from daam.tracing.plan import Side

GUIDANCE_SCALE = 7.0
"""Of Stable Diffusion 1, 2 and XL where none is given, as in the WebUI."""
OnStep = Callable[[int, int], bool | None]
"""Gets the steps that are done and the steps in all; gives True to end the sampling."""


@dataclass(frozen=True)
class GenerationSettings:
    """What to generate. Sizes are in pixels; None takes the model's own, and as guidance scale 7 for UNets, for others
    what their pipeline takes by itself.

    Pipelines with joint attention (Flux, Stable Diffusion 3 and their kin) read `prompt` and `negative` as plain text,
    and sample with their own scheduler.

    >>> daam.GenerationSettings("a red circle", steps=8).sampler
    'DPM++ 2M'
    >>> daam.GenerationSettings("a red circle", height=100)
    Traceback (most recent call last):
    daam.errors.SettingError: height: expected a multiple of 8 from 64 up, got 100

    Raises:
        SettingError: a value does not fit; the text names it.
    """

    prompt: str
    negative: str = ""
    seed: int = 0
    steps: int = 20
    guidance_scale: float | None = None
    height: int | None = None
    width: int | None = None
    batch_size: int = 1
    sampler: str = DEFAULT_SAMPLER
    emphasis: str = "Original"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.steps > 1000:
            raise SettingError(f"steps: expected at most 1000, got {self.steps}")
        for name in ("height", "width"):
            size = getattr(self, name)
            if size is not None and (size < 64 or size % 8):
                raise SettingError(f"{name}: expected a multiple of 8 from 64 up, got {size}")
        if not 0 <= self.seed < 2**63:
            raise SettingError(f"seed: expected 0 to 2^63 - 1, got {self.seed}")
        if self.guidance_scale is not None and not 0 <= self.guidance_scale <= 100:
            raise SettingError(f"guidance scale: expected 0 to 100, got {self.guidance_scale}")


def generate(
    pipeline: Any,
    settings: GenerationSettings,
    *,
    keep: str | Iterable[str] = (),
    terms: str = "",
    probe: str = "",
    on_step: OnStep | None = None,
) -> Result:
    """Generates `batch_size` pictures with the seeds `seed`, `seed + 1`, … and traces them.

    >>> settings = daam.GenerationSettings("a (red:1.3) [circle:square:0.5]", steps=3, batch_size=2)
    >>> generation = daam.generate(pipe, settings)
    >>> [picture.size for picture in generation.pictures]
    [(128, 128), (128, 128)]
    >>> list(generation.heat_maps(image=1))
    ['a', 'red', 'circle', 'square']

    Args:
        pipeline: as for `daam.trace`, of the text-to-image kind.
        keep, terms, probe: as for `daam.trace`.
        on_step: called after each step with the steps that are done and the steps in all; where it gives True the
            sampling ends there, and the pictures and maps are those of the steps that ran (not of Lumina 2, whose
            pipeline cannot be ended).

    Raises:
        TraceError: the pipeline is none that can be traced; a fault on the way is the result's `fault`.
        PromptError: the prompt cannot be read, or it joins parts with AND, which only the WebUI samples.
        SettingError: the pipeline has no such sampler, or takes no negative prompt.
    """
    own_scheduler = pipeline.scheduler
    try:
        return _generate(pipeline, settings, keep, terms, probe, on_step)
    finally:
        pipeline.scheduler = own_scheduler


def _generate(
    pipeline: Any,
    settings: GenerationSettings,
    keep: str | Iterable[str],
    terms: str,
    probe: str,
    on_step: OnStep | None,
) -> Result:
    images = settings.batch_size
    tracer = trace(pipeline, keep=keep, terms=terms, probe=probe)
    has_syntax = getattr(pipeline, "unet", None) is not None
    if has_syntax and settings.guidance_scale is None:
        settings = replace(settings, guidance_scale=GUIDANCE_SCALE)
    texts = _read(pipeline, settings) if has_syntax else None
    arguments = plain_arguments(pipeline, settings) if texts is None else texts.arguments()
    with tracer:
        if texts is not None:
            texts.tell(tracer, images)
        started = time.perf_counter()
        pictures = pipeline(
            **arguments,
            num_images_per_prompt=images,
            num_inference_steps=settings.steps,
            height=settings.height,
            width=settings.width,
            generator=[torch.Generator().manual_seed(settings.seed + image) for image in range(images)],
            callback_on_step_end=_StepEnd(texts, images, on_step),
            callback_on_step_end_tensor_inputs=[] if texts is None else texts.tensor_names,
        ).images
        seconds = time.perf_counter() - started
    notes = Notes(
        settings.prompt,
        settings.seed,
        model=name_of(pipeline),
        settings=asdict(settings),
        seconds={"sampling": seconds},
        date=now(),
    )
    if texts is None:
        guidance = arguments.get("true_cfg_scale", arguments.get("guidance_scale"))
        own = {"sampler": type(pipeline.scheduler).__name__, "guidance_scale": guidance}
        notes = replace(notes, settings={**notes.settings, **own}, remarks=plain_remarks(pipeline, settings))
    try:
        traces = [tracer.image_trace(image) for image in range(len(pictures))]
    except TraceError as error:  # the pictures are there all the same
        return Result(list(pictures), [], notes=notes, fault=str(error))
    return Result(list(pictures), traces, notes=notes)


def _read(pipeline: Any, settings: GenerationSettings) -> _Contexts:
    """The prompts in the WebUI's syntax, encoded; the pipeline has the wanted sampler then."""
    sampler = set_sampler(pipeline, settings.sampler)
    steps = settings.steps * sampler.calls_per_step
    tokenizer = ClipTokenizer.from_transformers(pipeline.tokenizer or pipeline.tokenizer_2)
    emphasis: Any = settings.emphasis
    positive = parse_prompt(settings.prompt, tokenizer, steps=steps, emphasis=emphasis)
    negative = parse_prompt(settings.negative, tokenizer, steps=steps, emphasis=emphasis, negative=True)
    if len(positive.parts) > 1:
        raise PromptError(
            f"AND joins {len(positive.parts)} prompts: only the WebUI samples them together; write `and` for the word"
        )
    empty = parse_prompt("", tokenizer).parts[0].schedule[0]
    return _Contexts(TextEncoding(pipeline, settings.emphasis), positive, negative, empty, settings.guidance_scale or 0)


class _Contexts:
    """The embeddings of every schedule entry of both prompts, all of one length."""

    def __init__(
        self,
        encoding: TextEncoding,
        positive: PromptTable,
        negative: PromptTable,
        empty: ScheduleEntry,
        guidance_scale: float,
    ):
        self._tables = (positive, negative)
        self._parts = (positive.parts[0], negative.parts[0])
        self._guidance_scale = guidance_scale
        encoded = [
            [encoding.encode(entry) for entry in positive.parts[0].schedule],
            [encoding.encode_negative(entry) for entry in negative.parts[0].schedule],
        ]
        longest = max(entry.context.shape[1] for entries in encoded for entry in entries)
        filling = encoding.encode(empty).context
        self._encoded = [[_fill_up(entry, longest, filling) for entry in entries] for entries in encoded]

    @property
    def tensor_names(self) -> list[str]:
        return ["prompt_embeds", "add_text_embeds"] if self._encoded[0][0].pooled is not None else ["prompt_embeds"]

    def is_switch(self, call: int) -> bool:
        """Whether another text becomes active at this model call."""
        return any(active_entry(part, call) != active_entry(part, call - 1) for part in self._parts)

    def tell(self, tracer: Tracer, images: int) -> None:
        """Says what every entry's text is encoded to, since the pipeline itself encodes none of them."""
        tracer.expect(*([table] * images for table in self._tables))
        for image in range(images):
            for side, entries in zip(get_args(Side), self._encoded):
                for number, encoded in enumerate(entries):
                    tracer.learn(Conditioned(image, side, number), encoded.context[0])

    def arguments(self) -> dict[str, Any]:
        """The pipeline's arguments: how strongly is guided, and the texts that are active at the first model call."""
        positive, negative = self._active(0)
        named: dict[str, Any] = {"prompt_embeds": positive.context, "negative_prompt_embeds": negative.context}
        named["guidance_scale"] = self._guidance_scale
        if positive.pooled is not None and negative.pooled is not None:
            named |= {"pooled_prompt_embeds": positive.pooled, "negative_pooled_prompt_embeds": negative.pooled}
        return named

    def tensors(self, call: int, images: int) -> dict[str, Tensor]:
        """The texts of a call as the pipeline holds them while it samples: rows of the negative prompt first."""
        positive, negative = self._active(call)
        sides = [negative, positive] if self._guidance_scale > 1 else [positive]
        found = {"prompt_embeds": torch.cat([side.context.repeat(images, 1, 1) for side in sides])}
        pooled = [side.pooled.repeat(images, 1) for side in sides if side.pooled is not None]
        return {**found, "add_text_embeds": torch.cat(pooled)} if pooled else found

    def _active(self, call: int) -> tuple[Encoded, Encoded]:
        positive, negative = (entries[active_entry(part, call)] for part, entries in zip(self._parts, self._encoded))
        return positive, negative


def _fill_up(encoded: Encoded, length: int, filling: Tensor) -> Encoded:
    """Texts of fewer chunks are filled up with the empty prompt, as the WebUI does."""
    missing = (length - encoded.context.shape[1]) // filling.shape[1]
    return Encoded(torch.cat([encoded.context] + [filling] * missing, dim=1), encoded.pooled)


class _StepEnd:
    """Tells the progress after each step, and hands the pipeline the texts of the next one where they change."""

    def __init__(self, contexts: _Contexts | None, images: int, on_step: OnStep | None):
        self._contexts, self._images, self._on_step = contexts, images, on_step

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._on_step is not None and self._on_step(step + 1, pipeline.num_timesteps):
            pipeline._interrupt = True  # as diffusers documents it for callbacks
        if self._contexts is None or not self._contexts.is_switch(step + 1):
            return {}
        return self._contexts.tensors(step + 1, self._images)
