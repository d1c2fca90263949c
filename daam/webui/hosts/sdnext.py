"""SD.Next (vladmandic's, July 2026): it samples with pipelines of diffusers, which `daam.hosts` traces.

Its page, settings and scripts are descended from AUTOMATIC1111's WebUI. It calls nothing before each denoiser call, and
a processing object has no `sample`: what samples a batch is a function of a module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules import images, paths, shared
from PIL import Image

from daam.prompt import Emphasis, PromptTable
from daam.webui.hosts.a1111_gallery import A1111Gallery
from daam.webui.hosts.a1111_page import A1111Page
from daam.webui.hosts.protocol import CommonHost, Place, SamplingWatch, Wanted
from daam.webui.hosts.sdnext_texts import typed_table
from daam.webui.hosts.sdnext_watch import PipelineWatch, processing_module

_INDEX = re.compile(r"(?:^|, )Index: (\d+)x(\d+)(?:,|$)")
"""In the infotext of one picture of several: number of the batch and of the picture in it, from 1."""


class SdNextSampling:
    """See `protocol.Sampling`."""

    def on_denoiser_call(self, see: Callable[[Any], None]) -> None:
        """There is no such callback: `script_callbacks.on_cfg_denoiser` is there and never called."""

    def sampling_function(self, p: Any) -> Place:
        """Looked up in its module at each call; batches of other objects, as of the detailer, go through it too."""
        return Place(processing_module(), "process_diffusers")

    def own_watch(self, p: Any, wanted: Wanted) -> SamplingWatch:
        return PipelineWatch(p, wanted, has_hires_pass=self.has_hires_pass(p))

    def replaced_generation(self, p: Any) -> str | None:
        return None

    def has_hires_pass(self, p: Any) -> bool:
        """Without "force hires" only latent upscalers sample again."""
        upscaler = str(getattr(p, "hr_upscaler", None) or "").lower()
        return bool(getattr(p, "enable_hr", False)) and (bool(p.hr_force) or upscaler.startswith("latent"))

    def is_interrupted(self) -> bool:
        return bool(shared.state.interrupted or shared.state.skipped)

    def model_name(self, p: Any) -> str:
        return str(getattr(getattr(shared.sd_model, "sd_checkpoint_info", None), "name", ""))


class SdNextTexts:
    """See `protocol.Texts`."""

    def own_table(self, prompt: str) -> PromptTable | None:
        return typed_table(prompt)

    def tokenizer(self) -> Any:
        return getattr(shared.sd_model, "tokenizer", None)

    def emphasis_mode(self) -> Emphasis:
        return "None" if shared.opts.prompt_attention == "fixed" else "No norm"

    def embedding_vectors(self) -> dict[str, int]:
        return {}

    def comma_padding(self) -> int:
        return 0

    def uses_old_scheduling(self) -> bool:
        return True


class SdNextGallery(A1111Gallery):
    """See `protocol.Gallery`."""

    def generated_pictures(self, p: Any, processed: Any) -> dict[int, int]:
        """Grids come first, masks and notes of the detailer before each picture; of equal pictures only one is there.

        Only pictures carry their infotext, which says which of the batch they are.
        """
        places: dict[int, int] = {}
        for place in range(processed.index_of_first_image, len(processed.images)):
            infotext = str(processed.images[place].info.get("parameters", ""))
            if infotext:
                found = _INDEX.search(infotext.rpartition("\n")[2])
                number = (int(found[1]) - 1) * p.batch_size + int(found[2]) - 1 if found else len(places)
                places.setdefault(number, place)
        return places

    def unshown_comments(self, p: Any) -> list[str]:
        """All: the host keeps them and shows others, which it keeps elsewhere and never fills."""
        return list(p.comments)

    def pastes_overlays(self, p: Any) -> bool:
        choice = getattr(p, "mask_apply_overlay", None)
        return bool(shared.opts.mask_apply_overlay if choice is None else choice)

    def label_image(self, image: Image.Image, infotext: str) -> None:
        if shared.opts.image_metadata:
            image.info["parameters"] = infotext

    def save_grid(self, p: Any, grid: Image.Image, infotext: str) -> None:
        if self.saves_grids(p):
            images.save_image(
                grid, p.outpath_grids, "heatmap", p.all_seeds[0], p.all_prompts[0], shared.opts.grid_format,
                info=infotext, grid=True, p=p,
            )  # fmt: skip

    def saves_pictures(self, p: Any) -> bool:
        choice = getattr(p, "samples_save", None)
        is_saved = shared.opts.samples_save if choice is None else choice
        return bool(is_saved) and not p.do_not_save_samples

    def save_beside(
        self, p: Any, image: Image.Image, picture: Image.Image, number: int, suffix: str, infotext: str
    ) -> None:
        if not self.saves_pictures(p):
            return
        file = self.saved_file(picture)
        folder = Path(p.outpath_samples) if file is None else file.parent
        name: dict[str, Any] = {"suffix": f"-{suffix}"}
        if file is not None:
            # a folder that joins to the same one: the setting would put another one in between
            name = {"forced_filename": f"{file.stem}-{suffix}", "save_to_dirs": str(folder.resolve())}
        seed, prompt = p.all_seeds[number], p.all_prompts[number]
        with _unnumbered():
            images.save_image(
                image, str(folder), "", seed, prompt, shared.opts.samples_format, info=infotext, p=p, **name
            )

    def output_folders(self) -> list[Path]:
        kinds = ("txt2img_samples", "img2img_samples", "control_samples", "extras_samples", "save")
        names = [getattr(shared.opts, f"outdir_{kind}", "") for kind in kinds]
        found = [paths.resolve_output_path(shared.opts.outdir_samples, name) for name in names]
        return [Path(folder) for folder in found if folder]


@contextmanager
def _unnumbered() -> Iterator[None]:
    """Without the number that the host puts before each name it saves, those that it is told too."""
    settings, name = shared.opts.data, "save_images_add_number"
    before = dict(settings)
    settings[name] = False
    try:
        yield
    finally:
        del settings[name]
        settings |= {name: before[name]} if name in before else {}


class SdNextPage(A1111Page):
    """See `protocol.Page`."""

    def values_of_script(self, p: Any, title: str) -> Sequence[Any]:
        """What the API was given for a script goes before what the page says."""
        given = p.per_script_args.get(title)
        return super().values_of_script(p, title) if given is None else tuple(given)

    def result_of_series(self, p: Any, images: Sequence[Image.Image], infotexts: Sequence[str], grids: int = 0) -> Any:
        """With the comments on `p`, which the host leaves out."""
        made = super().result_of_series(p, images, infotexts, grids)
        made.comments = "".join(f"{line}\n" for line in p.comments)
        return made

    def api_users(self) -> str:
        return str(getattr(shared.cmd_opts, "auth", None) or "").strip('"')


class SdNext(SdNextSampling, SdNextTexts, SdNextGallery, SdNextPage):
    """A `CommonHost`: its watch and its tables are its own."""


if TYPE_CHECKING:
    _complete: CommonHost = SdNext()  # mypy sees what is missing
