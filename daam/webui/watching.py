"""Traces one `p.sample` of the WebUI: both passes, every image, and every model that takes part.

All state lives in one `Watch`, which belongs to one call of `p.sample`; nothing is left on the model, on the script or
on `p` when the call ends, however it ends.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from daam.errors import TraceError, describe
from daam.maps.readings import OUTPUTS
from daam.prompt.table import PromptTable
from daam.tracing.capture import Capture
from daam.tracing.conditioning import RowWitness
from daam.tracing.image_trace import ImageTrace
from daam.tracing.joining import join_texts
from daam.tracing.plan import ModelCall, TracedText
from daam.tracing.probe import Probe
from daam.tracing.refined_maps import with_refined
from daam.tracing.texts import TextBook
from daam.webui.encoded import EntriesInUse, Readers
from daam.webui.hosts import DenoiserCall, Passes, Row, SamplingWatch, Wanted, host
from daam.webui.moved_rows import MovedRows
from daam.webui.prompts import PassTables, pass_tables

logger = logging.getLogger(__name__)
_active: ContextVar[Watch | None] = ContextVar("attention heatmap: the sampling that is watched", default=None)
_afterwards: ContextVar[Callable[[Any], None] | None] = ContextVar("attention heatmap: who is told", default=None)
MOST_ENCODED_MEANWHILE = 64
"""Texts that are kept of those encoded during the sampling; an extension may encode its own in each step."""
_WATCHED = "_attention_heatmap_watch"


def see_denoiser_call(params: Any) -> None:
    """The WebUI's callback: hands the call to the watch that is active, if there is one.

    A call between the end of the sampling and that of the generation is told to whom `watch_next_sampling` says.
    """
    watch, tell = _active.get(), _afterwards.get()
    if watch is not None:
        watch.see_denoiser_call(params)
    elif tell is not None:
        tell(host().owner_of(params))


def stop_telling() -> None:
    """The generation has ended."""
    _afterwards.set(None)


def watch_next_sampling(
    p: Any,
    watch: SamplingWatch,
    *,
    done: Callable[[SamplingWatch], None],
    afterwards: Callable[[Any], None] | None = None,
) -> None:
    """Wraps what samples `p` for its next call, which is traced; what is called is always what was there before.

    Args:
        done: gets the watch when sampling ended, also after an interruption.
        afterwards: gets the processing object of each denoiser call after that, until `stop_telling`: of generations
            that other extensions run on the picture.
    """
    forget_sampling(p)
    owner, name = host().sampling_function(p)
    had_own = name in vars(owner)
    previous = getattr(owner, name)

    @functools.wraps(previous)
    def sample(*arguments: Any, **named: Any) -> Any:
        if owner is not p and not (arguments and arguments[0] is p):
            return previous(*arguments, **named)
        if had_own:
            setattr(owner, name, previous)
        elif vars(owner).get(name) is sample:
            delattr(owner, name)
        try:
            with watch.installed():
                return previous(*arguments, **named)
        finally:
            done(watch)
            _afterwards.set(afterwards)

    setattr(sample, _WATCHED, previous if had_own else None)
    setattr(owner, name, sample)


def forget_sampling(p: Any) -> None:
    """Takes away a wrapper whose sampling never began, because something failed before."""
    owner, name = host().sampling_function(p)
    own = vars(owner).get(name)
    if own is not None and hasattr(own, _WATCHED):
        previous = getattr(own, _WATCHED)
        if previous is None:
            delattr(owner, name)
        else:
            setattr(owner, name, previous)


class Watch:
    """What is seen of one call of `p.sample`. A fault of its own ends it, is logged once, and never reaches `p`."""

    def __init__(self, p: Any, wanted: Wanted, probe: Probe | None):
        self._p = p
        self._probe = probe
        self._probed_model = host().current_unet() if probe is not None else None
        self._wanted = wanted
        self._wanted_passes: Passes = wanted.passes if host().has_hires_pass(p) else "first"
        self._stack: ExitStack | None = None
        self._captures: dict[nn.Module, Capture] = {}
        self._last: Capture | None = None
        self._call: DenoiserCall | None = None
        self._is_first_of_step = False
        self._moved = MovedRows()
        self._witness = RowWitness()
        self._encoded_meanwhile: list[tuple[str, Tensor]] = []
        self._own_texts: set[str] = set()
        self._step = 0
        self._is_hires = False
        self._passes: dict[bool, PassTables] = {}
        self._entries: dict[bool, EntriesInUse] = {}
        is_refined = wanted.refined is not None
        self._texts = TextBook(
            keep_details=wanted.keep_steps,
            terms=wanted.terms,
            is_refined=is_refined,
            with_outputs=wanted.with_outputs,
        )
        self._fault: Exception | None = None
        self._size = (0, 0)
        self._foreign_calls = 0
        self.calls = 0

    @property
    def fault(self) -> Exception | None:
        """What ended the trace before the sampling ended."""
        faults = (capture.fault for capture in self._captures.values())
        return self._fault or next((fault for fault in faults if fault is not None), None)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the sampling is not in the maps, in sentences; asked right after it."""
        found = []
        if host().is_interrupted():
            ran = "the one step that ran" if self.calls == 1 else f"the {self.calls} steps that ran"
            found.append(f"the generation was interrupted: the heat maps cover only {ran}")
        if self._foreign_calls:
            found.append(
                f"{self._foreign_calls} further calls of the model, by another extension, are not in the heat maps"
            )
        return tuple(found)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While it runs, the denoiser's callback reaches this watch; the hooks that it sets go with it."""
        token = _active.set(self)
        try:
            with ExitStack() as self._stack:
                self._watch_encoding(self._stack)
                yield
        finally:
            self._stack = self._call = None
            _active.reset(token)

    def _watch_encoding(self, stack: ExitStack) -> None:
        """While it samples, other extensions encode texts of their own; the hires pass's are the prompt's."""

        def see(model: nn.Module, arguments: tuple[Any, ...], encoded: Any) -> None:
            try:
                self._encoded_meanwhile += host().read_encoding(arguments, encoded)
                del self._encoded_meanwhile[:-MOST_ENCODED_MEANWHILE]
            except Exception as error:  # whatever it is, the picture goes on
                self._stop(error)

        try:
            model = host().text_model()
            if model is not None:
                stack.callback(model.register_forward_hook(see).remove)
        except Exception as error:
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        self._fault = error
        logger.warning(
            "the attention trace stopped, the picture is not affected: %s",
            describe(error),
            exc_info=logger.isEnabledFor(logging.DEBUG),
        )

    def see_denoiser_call(self, params: Any) -> None:
        """Prepares for the model calls of one denoiser call."""
        self._call = None
        if self.fault is not None or self._stack is None:
            return
        try:
            call = host().read_denoiser_call(params, self._p)
            self._is_hires = host().in_hires_pass(self._p)
            if call.owner is not self._p or not self._wants_pass():
                return
            self._hook(host().current_unet(), self._stack).step = self.calls  # first: a model may not be known at all
            if self._is_hires not in self._passes:
                self._begin_pass(call)
            self._call, self._is_first_of_step, self._step = call, True, call.step
            self._size = (call.height * host().latent_factor, call.width * host().latent_factor)
            self.calls += 1
        except Exception as error:  # whatever it is, the picture goes on
            self._stop(error)

    def _begin_pass(self, call: DenoiserCall) -> None:
        tables = pass_tables(host().encoded_prompts(self._p, hires=self._is_hires))
        encode = host().encode_context if host().encodes_while_sampling else None
        readers = Readers(host().prompt_readers(), encode)
        self._entries[self._is_hires] = EntriesInUse(
            tables, call.encoded, readers, with_negative=self._wanted.with_negative
        )
        self._passes[self._is_hires] = tables
        every = [part for table in (*tables.positive, *tables.negative) for part in table.parts]
        self._own_texts |= {entry.text for part in every for entry in part.schedule}

    def image_trace(self, image: int) -> ImageTrace:
        """What was traced of one image of the batch, right after it; its size is that of the latent in pixels.

        Raises:
            TraceError: the trace failed, or no step ran.
        """
        if self.fault is not None:
            raise TraceError(f"the trace stopped: {describe(self.fault)}") from self.fault
        self._witness.check()
        self._moved.check()
        for capture in self._captures.values():
            capture.check()
        if not self._passes:
            raise TraceError(f"no step of the {self._wanted_passes} pass ran that could be traced")
        tables = functools.reduce(PassTables.joined, self._passes.values())
        texts = join_texts([capture.texts(image) for capture in self._captures.values()])
        probe = self._probe.table if self._probe is not None else None
        positive, negative = tables.positive[image], tables.negative[image]
        keep: tuple[str, ...] = ("steps",) if self._wanted.keep_steps else ()
        not_refined = ""
        if self._last is not None and self._last.latest is not None:
            texts, not_refined = with_refined(texts, self._last.latest, image)
            self._last.latest.let_go(image)
            keep += () if not_refined else ("refined",)
        no_outputs = ""
        if self._wanted.with_outputs:
            no_outputs = (self._last.family.outputs_refusal or "") if self._last is not None else ""
            keep += () if no_outputs else (OUTPUTS,)
        return ImageTrace(
            self._size, positive, negative, texts, self.calls, keep, None, probe, self.remarks, not_refined, no_outputs
        )

    def _wants_pass(self) -> bool:
        return self._wanted_passes == "both" or self._is_hires == (self._wanted_passes == "second")

    def _hook(self, unet: nn.Module, stack: ExitStack) -> Capture:
        """Hooks the model that samples now: the refiner and the hires checkpoint are other ones."""
        if unet not in self._captures:
            probe = self._probe if unet is self._probed_model else None  # another checkpoint has another encoder
            keep_steps, refined = self._wanted.keep_steps, self._wanted.refined
            capture = Capture(
                unet,
                self._texts_of_rows,
                keep_steps=keep_steps,
                probe=probe,
                refined=refined,
                keep_outputs=self._wanted.with_outputs,
            )
            capture.install(stack)
            self._captures[unet] = capture
        capture = self._captures[unet]
        if self._last is not None and self._last is not capture and self._last.latest is not None:
            self._last.latest.forget()  # the picture is another model's now
        self._last = capture
        return capture

    def _texts_of_rows(self, call: ModelCall) -> list[TracedText | None]:
        if self._call is None:
            return [None] * call.rows
        if self._is_first_of_step:
            self._find_moved_rows(self._call)
            self._is_first_of_step = False
        rows = self._call.order.take(call)
        self._foreign_calls += not any(rows)
        if isinstance(call.conditioning, Tensor) and len(call.conditioning) == len(rows):
            contexts = [None if row is None else row.context for row in rows]
            foreign = [context for text, context in self._encoded_meanwhile if text not in self._own_texts]
            self._witness.see(call.conditioning, contexts, self._call.contexts, foreign)
        return [None if row is None else _repeated(self._text(row), row.repeats) for row in rows]

    def _find_moved_rows(self, call: DenoiserCall) -> None:
        """By now every extension's callback has run."""
        if call.inputs is not None:
            order = self._moved.order(call.order.rows, *call.inputs())
            call.order.rows = [call.order.rows[number] for number in order]

    def _text(self, row: Row) -> TracedText | None:
        """The text that conditions a row in this step; the parts of a later pass count on behind the earlier one's."""
        if row.side == "negative" and not self._wanted.with_negative:
            return None
        part = self._table(self._is_hires, row).parts[row.part]
        earlier = 0 if self._is_first_pass() else len(self._table(not self._is_hires, row).parts)
        entry = self._entries[self._is_hires].number(row.side, row.image, row.part, part, self._step)
        return self._texts.text(row.image, row.side, part, earlier + row.part, entry)

    def _is_first_pass(self) -> bool:
        return next(iter(self._passes)) == self._is_hires

    def _table(self, hires: bool, row: Row) -> PromptTable:
        tables = self._passes[hires]
        return (tables.positive if row.side == "positive" else tables.negative)[row.image]


def _repeated(text: TracedText | None, repeats: int) -> TracedText | None:
    return text if text is None or repeats == 1 else replace(text, repeats=repeats)
