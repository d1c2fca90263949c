"""What comes of a finished run: draws its heat maps, saves them as the WebUI's settings say, and shows them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from daam.errors import DaamError, describe
from daam.results.drawing import MOST_GREY, Drawing, draw
from daam.results.drawing_settings import DrawingSettings
from daam.results.file_names import safe_file_names
from daam.results.record import save_record
from daam.results.report import versions
from daam.results.result import Notes, Result, now
from daam.results.settings import TITLE
from daam.tracing.image_trace import ImageTrace
from daam.webui import texts
from daam.webui.earlier import SUFFIX
from daam.webui.hosts import host
from daam.webui.messages import told
from daam.webui.options import KEEP_RECORDS, RECORD_FOLDER
from daam.webui.result_store import store
from daam.webui.run import Run, is_overridden

logger = logging.getLogger(__name__)
SCRIPTS_THAT_TAKE_MORE_IMAGES = ("prompts from file or textbox",)
"""Scripts of the dropdown whose own work does not break when a generation returns more images; for all others the
heat maps are saved, not shown."""
RESULT_KEY = "Attention Heatmap result"
NOTES_KEY = "Attention Heatmap notes"
"""What API callers find in `info`, under `extra_generation_params`; never in a picture's infotext."""


def add_heat_maps(p: Any, processed: Any, run: Run) -> None:
    """Adds the heat maps right behind the generated pictures, and what the user should know under them."""
    try:
        _add_heat_maps(p, processed, run)
    except Exception as error:  # whatever it is, the pictures go on
        logger.warning("%s: %s", TITLE, describe(error), exc_info=not isinstance(error, DaamError))
        run.note(f"no heat maps: {told(error)}")
    for note in run.notes:
        line = f"{TITLE}: {note}"
        p.comment(line)  # for scripts that make a result of their own, and drop this one
        if line not in processed.comments:
            processed.comments += f"{line}\n"
    if host().selected_script(p) is not None:
        host().hand_on(p, NOTES_KEY, run.notes)
    if run.notes:
        processed.extra_generation_params = {**processed.extra_generation_params, NOTES_KEY: list(run.notes)}


def _add_heat_maps(p: Any, processed: Any, run: Run) -> None:
    if not run.settings.enabled:
        return
    places = host().generated_pictures(p, processed)
    numbers = [number for number in sorted(run.traces) if number in places]
    if not numbers:
        if not run.notes:
            run.note("no heat maps: no picture came out that was traced")
        return
    processed.infotexts += [processed.info] * (len(processed.images) - len(processed.infotexts))
    pictures = [processed.images[places[number]] for number in numbers]
    infotexts = [processed.infotexts[places[number]] for number in numbers]
    region = host().pasted_region(p)
    traces = [_fitted(run.traces[number], picture, region) for number, picture in zip(numbers, pictures)]
    settings = DrawingSettings.of(run.settings, len(pictures), host().grid_background())
    result = Result(pictures, traces, settings, _notes(p))
    run.result = result
    for remark in result.remarks:
        run.note(remark)
    processed.extra_generation_params = {**processed.extra_generation_params, RESULT_KEY: store.add(result, infotexts)}
    _save_records(p, result, run)
    _note_retouched(run, numbers)

    if run.settings.hide_images and run.settings.no_saving:
        return
    drawing = draw(result)
    _note_missing(run, drawing, len(pictures))
    if not drawing.terms:
        run.note("the prompt has no words to show")
    if run.settings.use_grid or run.settings.per_layer:
        shown = [(drawing.grid, infotexts[0])]
        host().label_image(*shown[0])
        is_saved = not run.settings.no_saving and host().saves_grids(p)
        if is_saved:
            host().save_grid(p, *shown[0])
    else:
        shown = [(drawn.tile, infotexts[drawn.image]) for drawn in drawing.terms if drawn.tile is not None]
        for image, infotext in shown:
            host().label_image(image, infotext)
        is_saved = not run.settings.no_saving and host().saves_pictures(p)
        if is_saved:
            _save_tiles(p, drawing, pictures, numbers, infotexts)
    _show(p, processed, run, shown, is_saved=is_saved, place=_behind(p, processed, places))


def _note_retouched(run: Run, numbers: list[int]) -> None:
    """Which pictures another generation had a hand in."""
    for place, number in enumerate(numbers, start=1):
        if number in run.retouched:
            where = "" if len(numbers) == 1 else f"picture {place}: "
            run.note(
                f"{where}another extension (ADetailer, say) made parts of the picture anew, in a generation and from a "
                "prompt of its own, which is not in the heat maps"
            )


def _note_missing(run: Run, drawing: Drawing, pictures: int) -> None:
    """Why terms have no map; of many the first reasons."""
    missing = [drawn for drawn in drawing.terms if drawn.reason is not None]
    for drawn in missing[:MOST_GREY]:
        run.note(str(drawn.reason) if pictures == 1 else f"picture {drawn.image + 1}: {drawn.reason}")
    if len(missing) > MOST_GREY:
        run.note(f"{len(missing) - MOST_GREY} more terms have no map")


def _notes(p: Any) -> Notes:
    settings = {"steps": p.steps, "sampler": p.sampler_name, "guidance_scale": p.cfg_scale}
    return Notes(p.all_prompts[0], p.all_seeds[0], host().model_name(p), settings=settings, date=now())


def _fitted(trace: ImageTrace, picture: Image.Image, region: tuple[int, int, int, int] | None) -> ImageTrace:
    """The trace at the size that the picture has in the end."""
    return replace(trace, picture_size=(picture.height, picture.width), region=region)


def _behind(p: Any, processed: Any, places: dict[int, int]) -> int:
    """The place in `processed.images` behind the last generated picture and its masks; other extensions' come later."""
    return places.get(len(p.all_prompts), len(processed.images))


def _show(
    p: Any, processed: Any, run: Run, shown: list[tuple[Image.Image, str]], *, is_saved: bool, place: int
) -> None:
    if run.settings.hide_images:
        return
    if is_overridden(p):  # a cell of X/Y/Z plot, which shows the first image
        for image, infotext in reversed(shown):
            processed.images.insert(0, image)
            processed.infotexts.insert(0, infotext)
        return
    script = host().selected_script(p)
    if script is not None and script.casefold() not in SCRIPTS_THAT_TAKE_MORE_IMAGES:
        what = "only saved, not shown" if is_saved else "not shown; saving is off for them too, so that none is left"
        run.note(f"the script {script!r} works on the returned images, so the heat maps are {what}")
        return
    if run.settings.use_grid and not host().shows_grids():
        run.note(f"the grid is not shown while this is off: {host().grid_setting()}")
        return
    processed.images[place:place] = [image for image, _ in shown]
    processed.infotexts[place:place] = [infotext for _, infotext in shown]


def _save_tiles(
    p: Any, drawing: Drawing, pictures: list[Image.Image], numbers: list[int], infotexts: list[str]
) -> None:
    labels = [("" if drawn.side == "positive" else f"{drawn.side}-") + drawn.name for drawn in drawing.terms]
    for image, picture in enumerate(pictures):
        chosen = [index for index, drawn in enumerate(drawing.terms) if drawn.image == image]
        suffixes = safe_file_names([labels[index] for index in chosen], suffix="")
        for index, suffix in zip(chosen, suffixes):
            tile = drawing.terms[index].tile
            if tile is not None:
                host().save_beside(p, tile, picture, numbers[image], f"heatmap-{suffix}", infotexts[image])


def _cause(error: Exception) -> BaseException:
    """Our own error for a file names its folder; the one that it came from does not have to."""
    return error.__cause__ if isinstance(error.__cause__, OSError) else error


def _save_records(p: Any, result: Result, run: Run) -> None:
    """A record beside each saved picture, where the settings ask for it; one that cannot be saved is noted."""
    if not host().option(KEEP_RECORDS, False) or not host().saves_pictures(p):
        return
    folder = str(host().option(RECORD_FOLDER, "")).strip()
    notes = replace(result.notes, versions=versions())
    for picture, trace in result.pairs:
        file = host().saved_file(picture)
        if file is None:
            continue
        target = (Path(folder) if folder else file.parent) / f"{file.stem}{SUFFIX}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            save_record(target, replace(result, pictures=[picture], traces=[trace], notes=notes))
        except (OSError, DaamError) as error:
            logger.warning("%s: no record was kept: %s", TITLE, error)
            where = f"{texts.SETTINGS_PAGE} → {texts.RECORD_FOLDER}"
            run.note(f"no record was kept of {file.name}: {told(_cause(error))}. The folder is named in {where}")
