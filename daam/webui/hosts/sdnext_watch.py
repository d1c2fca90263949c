"""Traces one batch of SD.Next: each of its passes is a call of a pipeline, which `daam.hosts` traces.

SD.Next makes a pipeline's arguments right before each call: that says which pipeline, which pass, which prompts, and
what they were encoded to where its own parser did so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from modules import prompt_parser_diffusers, shared
from torch import Tensor

from daam.errors import TraceError, describe
from daam.hosts.diffusers_prompts import ClipPrompts, Sd3Prompts, prompts_of
from daam.hosts.diffusers_trace import Tracer, trace
from daam.hosts.listening import listen
from daam.maps.readings import OUTPUTS, REFINED
from daam.prompt import PromptTable
from daam.prompt.joined import joined_tables
from daam.tracing.conditioning import Conditioned
from daam.tracing.image_trace import ImageTrace
from daam.tracing.joining import join_texts
from daam.tracing.plan import Side, TextKey
from daam.tracing.text_maps import TextMaps
from daam.webui.hosts.protocol import Wanted
from daam.webui.hosts.sdnext_texts import clip_table, further_texts

logger = logging.getLogger(__name__)
REFINER = "Refiner"
"""What SD.Next calls the pass of its refiner."""
_EMBEDDINGS: dict[Side, str] = {"positive": "prompt_embeds", "negative": "negative_prompt_embeds"}


def processing_module() -> Any:
    """Imported no sooner than something is generated: it asks for the loaded model."""
    return import_module("modules.processing_diffusers")


@dataclass(frozen=True)
class _Pass:
    """Attributes: tracer: of the pipeline's one call; notes: what the tracer cannot know of it, in sentences."""

    tracer: Tracer
    notes: tuple[str, ...] = ()
    no_outputs: str = ""


class PipelineWatch:
    """See `protocol.SamplingWatch`."""

    def __init__(self, p: Any, wanted: Wanted, *, has_hires_pass: bool):
        self._p = p
        self._wanted = wanted
        self._wanted_pass = wanted.passes if has_hires_pass else "first"
        self._passes: list[_Pass] = []
        self._open = ExitStack()
        self._fault: Exception | None = None
        self._has_refiner = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While it runs, the calls of pipelines for `p` are traced; nothing of it is left then."""
        with ExitStack() as stack:
            stack.callback(self._end_pass)
            stack.callback(listen(processing_module(), "set_pipeline_args", self._see_arguments))
            yield

    def _see_arguments(self, given: Mapping[str, Any], arguments: Any) -> None:
        """A pipeline is about to be called with these arguments."""
        if given.get("p") is not self._p or self._fault is not None:
            return
        try:
            self._end_pass()
            self._begin_pass(given, arguments)
        except Exception as error:  # whatever it is, the picture goes on
            self._fault = error
            self._end_pass()
            logger.warning("the prompts cannot be traced, the picture is not affected: %s", describe(error))

    def _end_pass(self) -> None:
        self._open.close()

    def _begin_pass(self, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        if given.get("desc") == REFINER:
            self._has_refiner = True
            return
        is_second = bool(getattr(self._p, "is_hr_pass", False))
        if self._wanted_pass != "both" and is_second != (self._wanted_pass == "second"):
            return
        pipeline = given["model"]
        tracer, no_outputs = self._tracer(pipeline)
        notes: list[str] = []
        expect: Callable[[], None] | None = None
        if arguments.get("prompt_embeds") is not None:
            expect = self._expectation(pipeline, given, arguments, tracer, notes)
        self._open.enter_context(tracer)
        self._passes.append(_Pass(tracer, tuple(notes), no_outputs))
        if expect is not None:
            expect()

    def _tracer(self, pipeline: Any) -> tuple[Tracer, str]:
        """The tracer of a pipeline, and why it keeps no output maps where they are wanted."""
        wanted = self._wanted
        keep = ["steps"] if wanted.keep_steps else []
        keep += [name for name, budget in REFINED.items() if wanted.refined == budget and budget is not None][:1]
        terms = ", ".join(term.quoted for term in wanted.terms)
        if not wanted.with_outputs:
            return trace(pipeline, keep=keep, terms=terms, probe=wanted.probe), ""
        try:
            return trace(pipeline, keep=[*keep, OUTPUTS], terms=terms, probe=wanted.probe), ""
        except TraceError as error:
            return trace(pipeline, keep=keep, terms=terms, probe=wanted.probe), describe(error)

    def _expectation(
        self, pipeline: Any, given: Mapping[str, Any], arguments: Mapping[str, Any], tracer: Tracer, notes: list[str]
    ) -> Callable[[], None]:
        """What tells the tracer which texts the embeddings were made from, that SD.Next itself encoded."""
        kind = prompts_of(pipeline)
        parser = given.get("prompt_attention") or getattr(self._p, "prompt_attention", None)
        parser = parser or shared.opts.prompt_attention
        positive, negative = list(given["prompts"]), list(given["negative_prompts"])
        if not isinstance(kind, ClipPrompts):
            if isinstance(kind, Sd3Prompts) or parser == "xhinker":
                raise TraceError(
                    f"how SD.Next's prompt parser {parser!r} encodes prompts for {type(pipeline).__name__} is not "
                    "known; choose 'fixed' as the prompt attention parser to see heat maps of this model"
                )
            return lambda: tracer.expect(positive)
        notes += [
            f"{text!r} was read by the further text encoders alone: each column holds a token of both, and the maps "
            "name the first encoder's words only"
            for text in dict.fromkeys(filter(None, map(further_texts, positive)))
        ]
        steps = int(given.get("num_inference_steps") or self._p.steps)
        tables = {
            side: self._tables(pipeline, side, texts, arguments, steps, parser)
            for side, texts in (("positive", positive), ("negative", negative))
        }
        contexts = list(_later_contexts(tables, steps))

        def expect() -> None:
            tracer.expect(tables["positive"], tables["negative"], are_all=True)
            for text, context in contexts:
                tracer.learn(text, context)

        return expect

    def _tables(
        self, pipeline: Any, side: Any, texts: Sequence[str], arguments: Mapping[str, Any], steps: int, parser: str
    ) -> list[PromptTable]:
        p = self._p
        every = p.all_prompts if side == "positive" else p.all_negative_prompts
        typed = list(every[p.iteration * p.batch_size :])
        embeddings = arguments.get(_EMBEDDINGS[side])
        length = embeddings.shape[1] if isinstance(embeddings, Tensor) else None
        return [
            clip_table(
                pipeline, typed[number] if number < len(typed) else text, text, steps, parser,
                negative=side == "negative", length=length,
            )
            for number, text in enumerate(texts)
        ]  # fmt: skip

    def image_trace(self, image: int) -> ImageTrace:
        """What was traced of one image of the batch: the parts of a second pass count on behind the first one's.

        Raises:
            TraceError: the trace failed, or no step ran.
        """
        if self._fault is not None:
            raise TraceError(f"the trace stopped: {describe(self._fault)}") from self._fault
        if not self._passes:
            raise TraceError(f"no step of the {self._wanted_pass} pass ran that could be traced")
        found = [self._trace_of_pass(each, image) for each in self._passes]
        joined = found[0]
        for later in found[1:]:
            joined = _joined(joined, later)
        notes = [note for each in self._passes for note in each.notes]
        if self._has_refiner:
            notes.append("the refiner's steps are not in the heat maps")
        if getattr(self._p, "detailer_enabled", False):
            notes.append(
                "the detailer makes parts of the picture anew, in a generation of its own, which is not in the heat "
                "maps"
            )
        remarks = tuple(dict.fromkeys((*joined.remarks, *notes)))
        return replace(joined, remarks=remarks)

    def _trace_of_pass(self, one: _Pass, image: int) -> ImageTrace:
        traced = one.tracer.image_trace(image)
        texts = {
            key: maps for key, maps in traced.texts.items() if key.side != "negative" or self._wanted.with_negative
        }
        return replace(traced, texts=texts, no_outputs=one.no_outputs)


def _later_contexts(tables: Mapping[Any, Sequence[PromptTable]], steps: int) -> Iterator[tuple[Conditioned, Tensor]]:
    """What the entries of schedules are encoded to that come later: SD.Next's embedder has it for each step."""
    embedder = prompt_parser_diffusers.embedder
    if embedder is None:
        return
    for side, own in tables.items():
        ends = [[entry.end_at_step for entry in table.parts[0].schedule] for table in own]
        begun: set[tuple[int, int]] = set()
        for step in range(1, steps):
            new = [
                (image, entry)
                for image, each in enumerate(ends)
                if (entry := next((number for number, end in enumerate(each) if step < end), len(each) - 1)) > 0
                and (image, entry) not in begun
            ]
            if new:
                rows = embedder(_EMBEDDINGS[side], step)
                begun |= set(new)
                for image, entry in new:
                    yield Conditioned(image, side, entry), rows[image]


def _joined(first: ImageTrace, later: ImageTrace) -> ImageTrace:
    """Both passes over one picture as one."""
    tables = {"positive": first.positive, "negative": first.negative}
    moved: dict[TextKey, TextMaps] = {}
    for key, maps in later.texts.items():
        table = tables.get(key.side)
        new = key._replace(part=key.part + (len(table.parts) if table is not None else 0))
        details = {
            layer: {step + first.calls if step >= 0 else step: kept for step, kept in steps.items()}
            for layer, steps in maps.details.items()
        }
        moved[new] = replace(maps, text=replace(maps.text, key=new), details=details)
    negative = first.negative
    if negative is not None and later.negative is not None:
        negative = joined_tables(negative, later.negative)
    return replace(
        later,
        positive=joined_tables(first.positive, later.positive),
        negative=negative,
        texts=join_texts([first.texts, moved]),
        calls=first.calls + later.calls,
        keep=tuple(axis for axis in first.keep if axis in later.keep),
        remarks=tuple(dict.fromkeys((*first.remarks, *later.remarks))),
        not_refined=first.not_refined or later.not_refined,
        no_outputs=first.no_outputs or later.no_outputs,
    )
