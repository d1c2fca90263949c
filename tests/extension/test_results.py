"""What comes of a run in the WebUI, seen without one: faults of what is beside the maps cost no maps."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import daam
from daam.results.settings import Settings
from daam.tracing.image_trace import ImageTrace
from tests.fake_webui import fake_webui
from tests.pipelines import run, sd1


@pytest.fixture(scope="module")
def trace() -> ImageTrace:
    pipeline = sd1()
    with daam.trace(pipeline) as tracer:
        run(pipeline, "a circle", num_inference_steps=1)
    return tracer.image_trace()


def finished(trace: ImageTrace, terms: str, folder: Path, *, keeps_records: bool = False) -> tuple[Any, Any]:
    """The run of one picture and what the WebUI shows of it; the picture lies in a folder that takes no file."""
    with fake_webui() as fake:
        results, runs = import_module("daam.webui.results"), import_module("daam.webui.run")
        kept = import_module("daam.webui.options").KEEP_RECORDS
        fake.host.option.side_effect = lambda name, default: keeps_records if name == kept else default
        fake.host.generated_pictures.return_value = {0: 0}
        fake.host.pasted_region.return_value = fake.host.grid_background.return_value = None
        fake.host.selected_script.return_value = None
        fake.host.model_name.return_value = "tiny"
        fake.host.saved_file.return_value = folder / "file" / "1.png"
        (folder / "file").touch()
        picture = Image.new("RGB", (64, 64))
        processed = SimpleNamespace(
            images=[picture], infotexts=["i"], info="i", comments="", extra_generation_params={}
        )
        p = SimpleNamespace(
            all_prompts=["a circle"], all_seeds=[1], steps=1, sampler_name="Euler", cfg_scale=7.0,
            comment=lambda _line: None,
        )  # fmt: skip
        made = runs.Run(p, Settings(enabled=True, terms=terms), {0: trace})
        results.add_heat_maps(p, processed, made)
        return made, processed


def test_a_record_that_cannot_be_saved_costs_no_maps(trace: ImageTrace, tmp_path: Path) -> None:
    made, processed = finished(trace, "circle", tmp_path, keeps_records=True)
    (note,) = made.notes
    assert note.startswith("No record was kept of 1.png: File exists. ") and note in processed.comments
    assert str(tmp_path) not in note and "Settings → Attention Heatmap → Folder for record files" in note
    assert len(processed.images) == 2 and made.result is not None


@pytest.mark.parametrize("steps", [1, 3])
def test_an_interrupted_sampling_is_said_and_one_that_ended_is_not(trace: ImageTrace, steps: int) -> None:
    with fake_webui() as fake:
        watching = import_module("daam.webui.watching")
        fake.host.has_hires_pass.return_value = False
        watch = watching.Watch(SimpleNamespace(), watching.Wanted(), None)
        watch._passes = {False: watching.PassTables((trace.positive,), (trace.positive,))}
        watch.calls = steps
        for fake.host.is_interrupted.return_value in (True, False):
            remarks = watch.image_trace(0).remarks
            assert bool(remarks) is fake.host.is_interrupted()
            ran = "the one step that ran" if steps == 1 else "the 3 steps that ran"
            assert remarks in ((), (f"the generation was interrupted: the heat maps cover only {ran}",))


def test_thousands_of_unknown_terms_are_few_notes(trace: ImageTrace, tmp_path: Path) -> None:
    terms = ", ".join(f"word{letter}" for letter in "bcdefghijklmnopqrst")
    made, _ = finished(trace, terms, tmp_path)
    assert len(made.notes) == 9 and made.notes[-1] == "11 more terms have no map"


def test_what_is_to_know_of_the_maps_is_noted(trace: ImageTrace, tmp_path: Path) -> None:
    made, processed = finished(replace(trace, remarks=("only the first step",)), "circle", tmp_path)
    assert made.notes == ["Only the first step"] and len(processed.images) == 2


def test_a_picture_is_found_by_its_infotext_where_another_script_shows_it(trace: ImageTrace) -> None:
    """X/Y/Z plot keeps the id of its first cell alone."""
    with fake_webui():
        store = import_module("daam.webui.result_store").ResultStore(most_results=3)
    results = [daam.Result([Image.new("RGB", (64, 64))], [trace]) for _ in range(4)]
    first, second, third = (store.add(each, [f"cell {number}"]) for number, each in enumerate(results[:3]))
    assert [store.find(first, number, f"cell {number}") for number in range(3)] == [(first, 0), (second, 0), (third, 0)]
    assert store.find(first, 0, "an extension changed it since") == (first, 0)
    assert store.find(first, 3, "cell 3") is None and store.find("other", 0, "") is None
    store.add(results[3], ["cell 3"])
    assert store.find(first, 0, "cell 0") is None, "no longer kept"
    assert store.find(first, 1, "cell 1") == (second, 0)


def test_by_default_as_many_results_are_kept_as_a_plot_has_cells() -> None:
    parser = argparse.ArgumentParser()
    import_module("preload").preload(parser)
    with fake_webui():
        kept = import_module("daam.webui.result_store").ResultStore().most_results
    assert parser.parse_args([]).attention_heatmap_results == kept == 64
