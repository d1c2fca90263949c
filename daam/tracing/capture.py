"""Watches the attention of one model through torch hooks while the model's own kernels run untouched.

Which modules are hooked is the family's business (families/), what becomes of their tensors the engine's; here are the
guard, the plan of rows, and the commit at the end of a call. Knows no host and no prompt.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from daam.errors import ShapeError, TraceError, describe
from daam.tracing.accumulator import Accumulator
from daam.tracing.engine import Engine, Task
from daam.tracing.families import Attended, Sight, find_family
from daam.tracing.families.base import Family, Outputs, SelfAttended, Watch, Words, argument
from daam.tracing.latest import Budget, LatestSelfAttention
from daam.tracing.layout import Wanted
from daam.tracing.outputs import OutputMaps
from daam.tracing.plan import ModelCall, RowPlan, TextKey, TracedText
from daam.tracing.probe import Probe
from daam.tracing.runs import LayerRuns
from daam.tracing.text_maps import TextMaps

logger = logging.getLogger(__name__)


class Capture:
    """Watches one model. A fault of its own ends the capture, is logged once and never reaches the model.

    Attributes:
        step: number under which the next calls' maps are kept, from 0; None counts the calls.
        latest: what refined maps are made along; None where none are wanted.
        outputs: maps in the attention's output space; None where none are wanted.

    The maps of a call are committed when the model returns: a call that fails midway leaves nothing behind, and of
    a layer that runs twice with one row in one call (ControlNet's reference pass) the last run counts.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: RowPlan,
        *,
        keep_steps: bool = False,
        keep_heads: bool = False,
        probe: Probe | None = None,
        refined: Budget | None = None,
        keep_outputs: bool = False,
    ):
        """
        Args:
            refined: what refined maps may cost; None where none are wanted.
            keep_outputs: maps in the attention's output space too, where the model has any.

        Raises:
            TraceError: the model's attention is of no known family, or it is compiled so that hooks would not run, or
                it is to be probed and cannot be.
        """
        self._model = model
        self._plan = plan
        self._family = find_family(model)
        if probe is not None and self._family.probe_refusal:
            raise TraceError(self._family.probe_refusal)
        self._keep_outputs = keep_outputs and self._family.outputs_refusal is None
        self._probe = probe
        self._keep_steps = keep_steps
        self._refined = refined
        self._is_watching = False
        self._watch = Watch()
        self._texts: dict[int, TracedText] = {}
        self._latent_size = (0, 0)
        self._runs = LayerRuns()
        self._wanted: dict[tuple[int | None, ...], tuple[Wanted | None, frozenset[int]]] = {}
        self._pending: dict[str, list[Task]] = {}
        self.step: int | None = None
        keep_details = keep_steps or keep_heads
        self._engine = Engine(keep_details=keep_details, keep_heads=keep_heads, probe=probe)
        self.restart()

    def restart(self) -> None:
        """Forgets everything, for the next generation."""
        self._engine.restart()
        self.accumulator = Accumulator(keep_steps=self._keep_steps)
        self.outputs = OutputMaps(self._probed_words()) if self._keep_outputs else None
        self.latest = None if self._refined is None else self._new_latest(self._refined)
        self.fault: Exception | None = None
        self.calls = 0
        self.calls_with_text = 0

    def _new_latest(self, budget: Budget) -> LatestSelfAttention:
        return LatestSelfAttention(budget, self._family.replaced_self_attention, self._family.refined_refusal)

    @property
    def thread(self) -> int | None:
        """The only thread whose calls are watched, for a model that several share; None watches all."""
        return self._watch.thread

    @thread.setter
    def thread(self, thread: int | None) -> None:
        self._watch.thread = thread

    @property
    def family(self) -> Family:
        """What is known of the model's kind of layers."""
        return self._family

    def texts(self, image: int) -> dict[TextKey, TextMaps]:
        """The maps of one picture's texts as they are now, on the CPU.

        Raises:
            TraceError: some are not finite.
        """
        found = self.accumulator.on_cpu(image)
        if self.outputs is None:
            return found
        for key, maps in found.items():
            words = self._probed_words() if key.side == "probe" else maps.text.output_words
            found[key] = replace(maps, text=replace(maps.text, output_words=words), outputs=self.outputs.of(key))
        return found

    def _probed_words(self) -> tuple[tuple[int, ...], ...]:
        return () if self._probe is None else self._probe.words

    def install(self, stack: ExitStack) -> None:
        """Sets the hooks; the stack removes them."""
        stack.callback(self._leave)
        self._is_watching = True
        begin, end = self._guarded(self._begin_call), self._guarded(self._end_call)
        stack.callback(self._model.register_forward_pre_hook(begin, with_kwargs=True).remove)
        stack.callback(self._model.register_forward_hook(end).remove)
        sight = Sight(
            guard=functools.partial(self._guarded, only_wanted=True),
            watch=self._watch,
            see=self._see,
            see_again=self._engine.see_again,
            latent_size=lambda: self._latent_size,
            see_self=None if self._refined is None else self._see_self,
            see_outputs=self._see_outputs if self._keep_outputs else None,
            words=None if self._probe is None else Words(self._probe.vectors, self._probe.places),
        )
        self._family.install(stack, sight)

    def _guarded(self, hook: Callable[..., None], *, only_wanted: bool = False) -> Callable[..., None]:
        """The hook, silent after a fault and turning an exception of its own into one.

        Args:
            only_wanted: silent too where no row of the call is wanted.
        """

        def run(*arguments: Any) -> None:
            if only_wanted:
                if not self._watch.is_on:  # as after a fault, and after the end
                    return
            elif not self._is_watching or self.fault is not None:
                return
            if self._watch.thread is not None and self._watch.thread != threading.get_ident():
                return
            try:
                if torch.is_grad_enabled():
                    with torch.no_grad():
                        hook(*arguments)
                else:
                    hook(*arguments)
            except Exception as error:
                self.fault = error
                self._forget_call()
                logger.warning(
                    "the attention trace stopped, the picture is not affected: %s",
                    describe(error),
                    exc_info=logger.isEnabledFor(logging.DEBUG),
                )

        return run

    def check(self) -> None:
        """To be asked when all calls are through.

        Raises:
            TraceError: layers ran with other rows than they were taken to run with, or with none of the texts'.
        """
        self._runs.check()
        if self.calls_with_text and self.fault is None and self.accumulator.is_empty:
            raise TraceError(
                "no layer of the model was seen to attend to the prompt: something runs its attention in its own way"
            )

    def _leave(self) -> None:
        """What hooks are left, on copies of the model, do nothing from now on."""
        self._is_watching = False
        self._forget_call()
        self._engine.release()

    def _forget_call(self) -> None:
        self._watch.is_on = False
        self._texts = {}
        self._wanted.clear()
        self._runs.end_call()
        self._pending.clear()
        self._engine.forget()
        if self.outputs is not None:
            self.outputs.forget_call()

    def _begin_call(self, model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if model is not self._model:  # a copy that was made while we watched has our hooks
            return
        self._forget_call()
        self._family.begin_call()
        sample = self._family.sample(arguments, named)
        self._latent_size = (sample.height, sample.width)
        conditioning = self._family.conditioning(arguments, named)
        timestep = argument(arguments, named, 1, ("timestep", "timesteps"))
        texts = self._plan(ModelCall(sample.rows, *self._latent_size, conditioning, timestep, sample.is_tuning, named))
        if len(texts) != sample.rows:
            raise ShapeError(f"expected a model call with {len(texts)} rows, got {sample.rows}")
        self._texts = {row: text for row, text in enumerate(texts) if text is not None}
        self._check_columns(sample.columns)
        if self.latest is not None:
            self.latest.begin_call(sample.rows, _rows_of_parts(self._texts))
        given = conditioning if isinstance(conditioning, Tensor) else None
        self._runs.begin_call(sample.rows, given)
        wanted, _ = self._find_wanted(self._runs.whole.rows)
        if wanted is not None:
            self._engine.begin_call(wanted, given, self._latent_size)
            self._watch.is_on = True

    def _check_columns(self, columns: tuple[int, ...] | None) -> None:
        """Args: columns: how many keys of its text each row has; None where all have enough."""
        for row, text in self._texts.items():
            if columns is not None and max(text.columns) >= columns[row]:
                raise ShapeError(
                    f"expected at least {1 + max(text.columns)} columns of the text in row {row} of the model's call, "
                    f"got {columns[row]}: the model attends to a part of the text only"
                )

    def _see(self, attended: Attended) -> None:
        run = self._runs.recognise(attended.layer, attended.context, attended.query.shape[0])
        wanted, rows = self._wanted.get(run.rows) or self._find_wanted(run.rows)
        if wanted is None:
            return
        earlier = self._pending.get(attended.layer)
        if earlier is None:
            earlier = self._pending[attended.layer] = self._seen_again(attended.layer)
        if earlier:
            replaced = [each for each in earlier if each.rows & rows]
            if any(each.is_recognised > run.is_recognised for each in replaced):
                return
            for each in replaced:
                each.is_dropped = True
                earlier.remove(each)
        task = self._engine.see(attended, wanted)
        task.rows, task.is_recognised = rows, run.is_recognised
        earlier.append(task)

    def _seen_again(self, layer: str) -> list[Task]:
        """What the engine took of a layer by itself, as a run with all rows."""
        task = self._engine.seen_again(layer)
        if task is None:
            return []
        self._runs.count(layer)
        task.rows, task.is_recognised = self._find_wanted(self._runs.whole.rows)[1], True
        return [task]

    def _see_outputs(self, outputs: Outputs) -> None:
        if self.outputs is not None:
            self.outputs.see(outputs, self._texts)

    def _see_self(self, attended: SelfAttended) -> None:
        if self.latest is not None:
            self.latest.see(attended)

    def _find_wanted(self, rows: tuple[int | None, ...]) -> tuple[Wanted | None, frozenset[int]]:
        """What is wanted of a layer that runs with these rows of the call, None where it is nothing, and which are."""
        found = tuple((place, self._texts[row]) for place, row in enumerate(rows) if row in self._texts)
        wanted = self._engine.wanted(found) if found else None
        self._wanted[rows] = (wanted, frozenset(row for row in rows if row is not None))
        return self._wanted[rows]

    def _end_call(self, model: nn.Module, *_: Any) -> None:
        if model is not self._model:
            return
        blocks, order = self._engine.finish()
        self.accumulator.add(blocks, order, step=self.calls if self.step is None else self.step, call=self.calls)
        if self.outputs is not None:
            self.outputs.end_call()
        self.calls += 1
        self.calls_with_text += bool(self._texts)
        self._forget_call()


def _rows_of_parts(texts: Mapping[int, TracedText]) -> dict[int, dict[int, int]]:
    """For each image the rows of its positive texts, by the number of the AND part."""
    found: dict[int, dict[int, int]] = {}
    for row, text in texts.items():
        if text.key.side == "positive":
            found.setdefault(text.key.image, {})[text.key.part] = row
    return found
