"""What AUTOMATIC1111's WebUI does with pictures: where they stand in its result, how they are shown and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import images, shared
from PIL import Image

from daam.webui.hosts.a1111_settings import setting_place


class A1111Gallery:
    """See `protocol.Gallery`."""

    def generated_pictures(self, p: Any, processed: Any) -> dict[int, int]:
        """Where each generated picture stands in `processed.images`: grids come before, masks behind each."""
        step = 1
        if getattr(p, "mask_for_overlay", None) is not None:
            step += bool(shared.opts.return_mask) + bool(shared.opts.return_mask_composite)
        return dict(enumerate(range(processed.index_of_first_image, len(processed.images), step)))

    def unshown_comments(self, p: Any) -> list[str]:
        return []

    def pasted_region(self, p: Any) -> tuple[int, int, int, int] | None:
        """(left, top, width, height) where inpainting "only masked" pastes the picture; None for whole pictures."""
        region = getattr(p, "paste_to", None)
        if not region or not getattr(p, "overlay_images", None) or not self.pastes_overlays(p):
            return None
        left, top, width, height = region
        return left, top, width, height

    def pastes_overlays(self, p: Any) -> bool:
        """Whether what was inpainted is put back into the picture."""
        return bool(getattr(shared.opts, "overlay_inpaint", True))  # since 1.8

    def grid_background(self) -> str:
        return str(getattr(shared.opts, "grid_background_color", "#ffffff"))

    def shows_grids(self) -> bool:
        return bool(shared.opts.return_grid)

    def grid_setting(self) -> str:
        """Where it is set whether grids are shown."""
        return setting_place("return_grid")

    def label_image(self, image: Image.Image, infotext: str) -> None:
        """Puts the infotext where the browser's download finds it, if the WebUI is to write it at all."""
        if shared.opts.enable_pnginfo:
            image.info["parameters"] = infotext

    def saves_grids(self, p: Any) -> bool:
        return bool(shared.opts.grid_save) and not p.do_not_save_grid

    def save_grid(self, p: Any, grid: Image.Image, infotext: str) -> None:
        """Saves into the grid directory under the WebUI's settings, unless they say not to."""
        if not self.saves_grids(p):
            return
        images.save_image(
            grid, p.outpath_grids, "heatmap", p.all_seeds[0], p.all_prompts[0], shared.opts.grid_format, info=infotext,
            short_filename=not shared.opts.grid_extended_filename, p=p, grid=True,
        )  # fmt: skip

    def saves_pictures(self, p: Any) -> bool:
        return bool(p.save_samples()) if hasattr(p, "save_samples") else not p.do_not_save_samples  # since 1.6

    def save_beside(
        self, p: Any, image: Image.Image, picture: Image.Image, number: int, suffix: str, infotext: str
    ) -> None:
        """Saves an image under the name of the saved picture with a suffix, in the WebUI's format."""
        if not self.saves_pictures(p):
            return
        file = self.saved_file(picture)
        arguments: dict[str, Any] = {"info": infotext, "p": p}
        if file is None:
            folder, arguments["suffix"] = Path(p.outpath_samples), f"-{suffix}"
        else:
            folder, arguments["forced_filename"], arguments["save_to_dirs"] = (
                file.parent,
                f"{file.stem}-{suffix}",
                False,
            )
        seed, prompt = p.all_seeds[number], p.all_prompts[number]
        images.save_image(image, str(folder), "", seed, prompt, shared.opts.samples_format, **arguments)

    def saved_file(self, picture: Image.Image) -> Path | None:
        """Where the WebUI saved a picture; None when it did not."""
        file = getattr(picture, "already_saved_as", None)
        return None if file is None else Path(str(file).rsplit("?", 1)[0])

    def output_folders(self) -> list[Path]:
        """Where the WebUI saves pictures, by its settings."""
        kinds = ("samples", "txt2img_samples", "img2img_samples", "extras_samples", "save")
        folders = [str(getattr(shared.opts, f"outdir_{kind}", "") or "").strip() for kind in kinds]
        return [Path(folder) for folder in folders if folder]
