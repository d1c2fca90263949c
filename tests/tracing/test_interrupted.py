"""Maps of a generation that did not come to its end say so, wherever they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import daam
from daam.hosts.diffusers_generate import GenerationSettings, generate
from daam.results.drawing_settings import DrawingSettings
from daam.results.report import make_report
from daam.results.result import Notes, Result
from daam.results.viewer.data import viewer_data
from tests.pipelines import run, sd1

PICTURE = Image.new("RGB", (64, 64))
SAID = "the generation was interrupted: the maps cover only the first 2 of 4 model calls"


def stop_after(steps: int) -> Any:
    """The way in which diffusers' documentation stops a pipeline."""

    def on_step_end(pipeline: Any, step: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
        pipeline._interrupt = step + 1 >= steps
        return {}

    return on_step_end


def test_a_plain_trace_says_how_many_steps_ran_and_the_next_one_forgets_it() -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle", num_inference_steps=4, callback_on_step_end=stop_after(2))
        assert tracer.notes == [SAID]
    assert tracer.notes == [SAID] and tracer.image_trace().remarks == (SAID,)
    run(pipeline, "a circle")
    assert tracer.notes == [SAID], "another run outside of the trace changes nothing"
    with tracer:
        run(pipeline, "a circle", num_inference_steps=4, callback_on_step_end=stop_after(4))
    assert tracer.notes == []


def test_an_exception_in_the_middle_is_an_interruption_too() -> None:
    pipeline = sd1()

    def fail(_pipeline: Any, step: int, *_: Any) -> dict[str, Any]:
        if step == 1:
            raise KeyboardInterrupt
        return {}

    tracer = daam.trace(pipeline)
    with pytest.raises(KeyboardInterrupt), tracer:
        run(pipeline, "a circle", num_inference_steps=4, callback_on_step_end=fail)
    assert tracer.image_trace().remarks == (SAID,)


def test_it_stands_in_record_report_and_viewer(tmp_path: Path) -> None:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle", num_inference_steps=4, callback_on_step_end=stop_after(2))
    result = Result([PICTURE], [tracer.image_trace()], notes=Notes(remarks=("another", SAID)))
    daam.save_record(tmp_path / "r.safetensors", result)
    loaded = daam.load_record(tmp_path / "r.safetensors")
    assert loaded.traces[0].remarks == (SAID,) and loaded.remarks == ["another", SAID]
    assert make_report(loaded)["remarks"] == ["another", SAID]
    first = viewer_data(PICTURE, loaded.traces[0], DrawingSettings())["observations"][0]
    assert first == {"kind": "remark", "text": SAID, "terms": []}


def test_a_generation_that_its_caller_stops_says_so() -> None:
    pipeline = sd1()

    def on_step(done: int, _total: int) -> None:
        pipeline._interrupt = done == 2

    settings = GenerationSettings("a circle", steps=4, height=64, width=64, sampler="Euler")
    assert generate(pipeline, settings, on_step=on_step).remarks == [SAID]
    assert generate(pipeline, settings).remarks == []
