"""What belongs to one generation while it runs. Travels with the processing object; never on the script or a module."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daam.errors import DaamError, describe
from daam.maps.readings import OUTPUTS, READINGS, REFINED, kept_for
from daam.prompt.terms import parse_terms
from daam.results.result import Result
from daam.results.settings import Settings
from daam.tracing.image_trace import ImageTrace
from daam.webui.hosts import SamplingWatch, Wanted, host
from daam.webui.messages import sentence, told
from daam.webui.prompts import make_probe_of
from daam.webui.watching import Watch, forget_sampling, stop_telling, watch_next_sampling

logger = logging.getLogger(__name__)
_RUN = "_attention_heatmap_run"
_OVERRIDES = "_attention_heatmap_overrides"
_UNTOLD = "_attention_heatmap_untold"


@dataclass
class Run:
    """One generation that is traced.

    Attributes:
        owner: the processing object that it belongs to; shallow copies of it carry the run too, but do not own it.
        traces: by number of the picture in the generation; what could not be traced is missing.
        notes: what the user should know, in sentences.
        retouched: numbers of the pictures of which another extension's own generation made parts anew.
        finished: after `postprocess`.
        result: what came out; None before, and where nothing was traced.
        infotext: keys and values of the settings for the pictures' infotext.
    """

    owner: Any
    settings: Settings
    traces: dict[int, ImageTrace] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    retouched: set[int] = field(default_factory=set)
    finished: bool = False
    result: Result | None = None
    infotext: Mapping[str, str] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Keeps a sentence once."""
        text = sentence(text)
        if text not in self.notes:
            self.notes.append(text)

    def watch_batch(self, p: Any) -> None:
        """Traces the sampling of the batch that comes next."""
        if not self.settings.enabled:
            return
        replaced = host().replaced_generation(p)
        if replaced is not None:
            self.note(f"no heat maps: {replaced}")
            return
        first = p.iteration * p.batch_size
        count = len(p.prompts)

        def done(watch: SamplingWatch) -> None:
            for image in range(count):
                try:
                    self.traces[first + image] = watch.image_trace(image)
                except Exception as error:  # whatever it is, the picture goes on, and so do the others' maps
                    logger.warning("no heat maps: %s", describe(error), exc_info=not isinstance(error, DaamError))
                    self.note(f"no heat maps: {told(error)}")

        watch_next_sampling(p, self._watch_of(p), done=done, afterwards=self._see_other_generation)

    def _watch_of(self, p: Any) -> SamplingWatch:
        settings = self.settings
        wanted = Wanted(
            settings.passes,
            settings.with_negative,
            settings.keep_steps,
            tuple(parse_terms(settings.terms)),
            REFINED[kept_for(settings.reading)],
            READINGS[settings.reading].needs == OUTPUTS,
            settings.probe,
        )
        return host().own_watch(p, wanted) or Watch(p, wanted, make_probe_of(wanted.probe))

    def _see_other_generation(self, owner: Any) -> None:
        """Pictures are finished one by one, in their order; before that, all of the batch."""
        p = self.owner
        if owner is None or owner is p:
            return
        first, number = p.iteration * p.batch_size, getattr(p, "batch_index", None)
        self.retouched |= {first + number} if number is not None else set(range(first, first + p.batch_size))


def begin_run(p: Any, values: Sequence[Any]) -> Run | None:
    """A new run for a processing object whose panel is on; None where there is nothing to do.

    Copies that another extension makes of an object in the middle of its run, and generates with, are left alone.

    A setting that does not fit is noted, and nothing is traced then.
    """
    running = vars(p).get(_RUN)
    if running is not None and running.owner is not p and not running.finished:
        return None
    end_run(p)
    stop_telling()
    forget_sampling(p)
    overrides = vars(p).get(_OVERRIDES, {})
    if not Settings.is_enabled(values) and not overrides:
        return None
    try:
        told_of = {name: value for name, value in overrides.items() if name not in vars(p).get(_UNTOLD, ())}
        run = Run(p, Settings.read(values, overrides), infotext=Settings.read(values, told_of).infotext())
    except DaamError as error:
        run = Run(p, Settings.read([False]), notes=[f"No heat maps: {told(error)}"])
    setattr(p, _RUN, run)
    return run


def run_of(p: Any) -> Run | None:
    """The unfinished run that this very object owns."""
    run = vars(p).get(_RUN)
    return run if run is not None and run.owner is p and not run.finished else None


def last_result(p: Any) -> Result | None:
    """What came of the generation of this very object."""
    run = vars(p).get(_RUN)
    return run.result if run is not None and run.owner is p else None


def end_run(p: Any) -> None:
    """Forgets the run of an object."""
    if vars(p).get(_RUN) is not None:
        delattr(p, _RUN)


def override(p: Any, name: str, value: Any, *, is_told: bool = True) -> None:
    """Sets one control's value for one processing object, as an axis of X/Y/Z plot does.

    Args: is_told: in the infotext, from which the panel can be set again.
    """
    setattr(p, _OVERRIDES, {**vars(p).get(_OVERRIDES, {}), name: value})
    if not is_told:
        setattr(p, _UNTOLD, {*vars(p).get(_UNTOLD, ()), name})


def is_overridden(p: Any) -> bool:
    return bool(vars(p).get(_OVERRIDES))
