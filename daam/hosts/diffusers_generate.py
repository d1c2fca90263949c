"""Generates pictures with a diffusers pipeline from a prompt in the WebUI's syntax, traced on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from daam.errors import PromptError, SettingError, TraceError
from daam.hosts.diffusers_encode import Encoded, TextEncoding
from daam.hosts.diffusers_models import name_of, set_sampler
from daam.hosts.diffusers_trace import Tracer, trace
from daam.prompt import ClipTokenizer, PromptTable, parse_prompt
from daam.prompt.table import ScheduleEntry, active_entry
from daam.results.result import Notes, Result, now
from daam.tracing.conditioning import Conditioned
from daam.tracing.plan import Side

OnStep = Callable[[int, int], bool | None]
"""Gets the steps that are done and the steps in all; gives True to end the sampling."""


@dataclass(frozen=True)
class GenerationSettings:
    """What to generate. Sizes are in pixels; None takes the model's own.

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
    guidance_scale: float = 7.0
    height: int | None = None
    width: int | None = None
    batch_size: int = 1
    sampler: str = "DPM++ 2M"
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
        if not 0 <= self.guidance_scale <= 100:
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
            sampling ends there, and the pictures and maps are those of the steps that ran.

    Raises:
        TraceError: the pipeline is none that can be traced; a fault on the way is the result's `fault`.
        PromptError: the prompt cannot be read, or it joins parts with AND, which only the WebUI samples.
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
    if getattr(pipeline, "unet", None) is None:
        raise TraceError(
            f"expected a pipeline of Stable Diffusion 1.x, 2.x or XL, got {type(pipeline).__name__}: the WebUI's "
            "syntax is for their text encoders; in Python, daam.trace(pipe) around a call of the pipeline has its maps"
        )
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
    encoding = TextEncoding(pipeline, settings.emphasis)
    contexts = _Contexts(encoding, positive, negative, empty, is_guided=settings.guidance_scale > 1)
    seeds = [settings.seed + image for image in range(settings.batch_size)]
    with trace(pipeline, keep=keep, terms=terms, probe=probe) as tracer:
        tracer.expect([positive] * settings.batch_size, [negative] * settings.batch_size)
        for image in range(settings.batch_size):
            contexts.tell(tracer, image)
        started = time.perf_counter()
        pictures = pipeline(
            **contexts.arguments(),
            num_images_per_prompt=settings.batch_size,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            height=settings.height,
            width=settings.width,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            callback_on_step_end=_StepEnd(contexts, settings.batch_size, on_step),
            callback_on_step_end_tensor_inputs=contexts.tensor_names,
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
    try:
        traces = [tracer.image_trace(image) for image in range(len(pictures))]
    except TraceError as error:  # the pictures are there all the same
        return Result(list(pictures), [], notes=notes, fault=str(error))
    return Result(list(pictures), traces, notes=notes)


class _Contexts:
    """The embeddings of every schedule entry of both prompts, all of one length."""

    def __init__(
        self,
        encoding: TextEncoding,
        positive: PromptTable,
        negative: PromptTable,
        empty: ScheduleEntry,
        *,
        is_guided: bool,
    ):
        self._parts = (positive.parts[0], negative.parts[0])
        self._is_guided = is_guided
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

    def tell(self, tracer: Tracer, image: int) -> None:
        """Says what every entry's text is encoded to, since the pipeline itself encodes none of them."""
        for side, entries in zip(get_args(Side), self._encoded):
            for number, encoded in enumerate(entries):
                tracer.learn(Conditioned(image, side, number), encoded.context[0])

    def arguments(self) -> dict[str, Tensor]:
        """The pipeline's arguments for the texts that are active at the first model call."""
        positive, negative = self._active(0)
        named = {"prompt_embeds": positive.context, "negative_prompt_embeds": negative.context}
        if positive.pooled is not None and negative.pooled is not None:
            named |= {"pooled_prompt_embeds": positive.pooled, "negative_pooled_prompt_embeds": negative.pooled}
        return named

    def tensors(self, call: int, images: int) -> dict[str, Tensor]:
        """The texts of a call as the pipeline holds them while it samples: rows of the negative prompt first."""
        positive, negative = self._active(call)
        sides = [negative, positive] if self._is_guided else [positive]
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

    def __init__(self, contexts: _Contexts, images: int, on_step: OnStep | None):
        self._contexts, self._images, self._on_step = contexts, images, on_step

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._on_step is not None and self._on_step(step + 1, pipeline.num_timesteps):
            pipeline._interrupt = True  # as diffusers documents it for callbacks
        if not self._contexts.is_switch(step + 1):
            return {}
        return self._contexts.tensors(step + 1, self._images)
