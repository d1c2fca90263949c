"""What the extension asks of the WebUI, the same for every version from 1.6 to 1.10. No other file looks at versions.

Facts about the WebUI were read in its version 1.10.1; "since 1.8" and the like say what older ones lack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from modules import devices, images, prompt_parser, script_callbacks, sd_hijack, sd_samplers, sd_unet, shared
from PIL import Image
from torch import Tensor, nn

from daam.errors import TraceError
from daam.prompt import Emphasis
from daam.prompt.t5 import T5
from daam.webui.rows import DenoiserCall

LATENT_FACTOR = 8
"""Pixels of the picture for one of the latent, in each direction."""


def on_denoiser_call(see: Callable[[Any], None]) -> None:
    """Registers the callback that gets the WebUI's parameters of each denoiser call; once for each start."""
    script_callbacks.on_cfg_denoiser(see)


def read_denoiser_call(params: Any, p: Any) -> DenoiserCall:
    """Args: params: what the callback got. p: the processing object that is thought to sample."""
    denoiser = getattr(params, "denoiser", None) or p.sampler.model_wrap_cfg  # the field exists since 1.8
    sampler = getattr(denoiser, "sampler", None) or p.sampler
    conditioning = sampler.sampler_extra_args["cond"]
    return DenoiserCall(
        owner=denoiser.p,
        step=denoiser.step,
        parts=tuple(len(parts) for parts in conditioning.batch),
        positive_rows=params.text_cond.shape[0],
        rows=params.x.shape[0],
        height=params.x.shape[-2],
        width=params.x.shape[-1],
    )


def current_unet() -> nn.Module:
    """The UNet that samples now; refiner and hires checkpoint change it.

    Raises:
        TraceError: it is not run as a torch module.
    """
    if sd_unet.current_unet is not None:
        raise TraceError(
            f"the SD Unet setting runs {type(sd_unet.current_unet).__name__} instead of the checkpoint's own UNet, "
            "and its attention cannot be seen; set SD Unet to None"
        )
    unet = getattr(getattr(shared.sd_model, "model", None), "diffusion_model", None)
    if not isinstance(unet, nn.Module):
        raise TraceError(f"expected a checkpoint with a diffusion model, got {type(shared.sd_model).__name__}")
    return unet


def text_encoders() -> list[Any]:
    """The loaded checkpoint's CLIP encoders, which cut prompts into chunks: one, or two for SDXL."""
    conditioner = shared.sd_model.cond_stage_model
    sd3 = getattr(conditioner, "model_lg", None)  # since 1.10; its T5 columns come after those of CLIP
    candidates = [conditioner, *getattr(conditioner, "embedders", []), sd3]
    return [encoder for encoder in candidates if callable(getattr(encoder, "tokenize_line", None))]


def t5() -> T5 | None:
    """The T5 encoder of a loaded SD3; None where there is none or it is switched off, so that its columns are zero."""
    encoder: Any = getattr(shared.sd_model.cond_stage_model, "model_t5", None)  # since 1.10
    if getattr(encoder, "t5xxl", None) is None or not getattr(shared.opts, "sd3_enable_t5", False):
        return None

    def cut(texts: Sequence[str]) -> list[list[tuple[int, int, int]]]:
        found = encoder.tokenizer(list(texts), truncation=False, add_special_tokens=False, return_offsets_mapping=True)
        return [
            [(token, *place) for token, place in zip(*tokens)]
            for tokens in zip(found["input_ids"], found["offset_mapping"])
        ]

    def tokens(text: str, count: int) -> list[int]:
        return list(encoder.tokenize_line(text, target_token_count=count)[0])

    return T5(cut, tokens)


def encode_context(text: str) -> Tensor:
    """The context [column, channel] that the loaded checkpoint's own encoders make of a text."""
    with torch.no_grad(), devices.autocast():
        batch = prompt_parser.SdConditioning([text], width=1024, height=1024)
        encoded = shared.sd_model.get_learned_conditioning(batch)
    context: Tensor = encoded["crossattn"] if isinstance(encoded, dict) else encoded
    return context[0]


def chunk_tokens(encoder: Any, text: str) -> list[list[int]]:
    """The token ids of each chunk of 77 columns that the WebUI makes of a text."""
    chunks, _ = encoder.tokenize_line(text)
    return [list(chunk.tokens) for chunk in chunks]


def emphasis_mode() -> Emphasis:
    """The emphasis setting under its name of 1.8 and later."""
    if getattr(shared.opts, "use_old_emphasis_implementation", False):
        raise TraceError(
            "the setting 'Use old emphasis implementation' places tokens by other rules, which are not known here; "
            "switch it off (Settings, Compatibility)"
        )
    mode = getattr(shared.opts, "emphasis", None)  # since 1.8
    if mode is not None:
        return mode  # type: ignore[no-any-return]
    return "Original" if getattr(shared.opts, "enable_emphasis", True) else "None"


def embedding_vectors() -> dict[str, int]:
    """Number of vectors of each textual-inversion embedding that fits the checkpoint, in the order of loading."""
    embeddings = sd_hijack.model_hijack.embedding_db.word_embeddings
    return {name: int(embedding.vectors) for name, embedding in embeddings.items()}


def comma_padding() -> int:
    """How far back a comma may be for the text after it to move to the next chunk; SD3's encoder moves nothing."""
    knows_comma = any(getattr(encoder, "comma_token", None) is not None for encoder in text_encoders())
    return int(shared.opts.comma_padding_backtrack) if knows_comma else 0


def uses_old_scheduling() -> bool:
    return bool(getattr(shared.opts, "use_old_scheduling", False))


@dataclass(frozen=True)
class EncodedPrompts:
    """The prompts of one pass of one batch.

    Attributes:
        positive, negative: the texts that were encoded, one for each image.
        typed_positive, typed_negative: the same before the tags of extra networks were taken out.
        steps: of the first pass, as the sampler counts them.
        hires_steps: of the hires pass; None for the first pass.
    """

    positive: Sequence[str]
    negative: Sequence[str]
    typed_positive: Sequence[str]
    typed_negative: Sequence[str]
    steps: int
    hires_steps: int | None


def encoded_prompts(p: Any, *, hires: bool) -> EncodedPrompts:
    """Must be read while `p.sample` runs: before, they are not made yet; afterwards `p.prompts` is reset."""
    prefix = "hr_" if hires else ""
    here = slice(p.iteration * p.batch_size, (p.iteration + 1) * p.batch_size)
    hires_steps = None
    if hires:
        hires_steps = _total_steps(p.hr_sampler_name or p.sampler_name, p.hr_second_pass_steps or p.steps)
    return EncodedPrompts(
        positive=list(getattr(p, f"{prefix}prompts")),
        negative=list(getattr(p, f"{prefix}negative_prompts")),
        typed_positive=list(getattr(p, f"all_{prefix}prompts")[here]),
        typed_negative=list(getattr(p, f"all_{prefix}negative_prompts")[here]),
        steps=getattr(p, "firstpass_steps", None) or _total_steps(p.sampler_name, p.steps),
        hires_steps=hires_steps,
    )


def has_hires_pass(p: Any) -> bool:
    return bool(getattr(p, "enable_hr", False))


def in_hires_pass(p: Any) -> bool:
    return bool(getattr(p, "is_hr_pass", False))


def pasted_region(p: Any) -> tuple[int, int, int, int] | None:
    """(left, top, width, height) where inpainting "only masked" pastes the picture; None for whole pictures."""
    is_pasted = getattr(p, "overlay_images", None) and getattr(shared.opts, "overlay_inpaint", True)  # since 1.8
    region = getattr(p, "paste_to", None)
    if not region or not is_pasted:
        return None
    left, top, width, height = region
    return left, top, width, height


def selected_script(p: Any) -> str | None:
    """Title of the script chosen in the Script dropdown; None when there is none."""
    number = p.script_args[0] if p.scripts is not None and p.script_args else 0
    if not isinstance(number, int) or number < 1:
        return None
    title: str = p.scripts.selectable_scripts[number - 1].title()
    return title


def values_of_script(p: Any, title: str) -> Sequence[Any]:
    """What the controls of an always-visible script say; empty where there is none of that title."""
    for script in p.scripts.alwayson_scripts if p.scripts is not None else ():
        if script.title() == title and p.script_args:
            return tuple(p.script_args[script.args_from : script.args_to])
    return ()


def generated_pictures(p: Any, processed: Any) -> list[int]:
    """Where the generated pictures stand in `processed.images`: grids come before, masks behind each."""
    step = 1
    if getattr(p, "mask_for_overlay", None) is not None:
        step += bool(shared.opts.return_mask) + bool(shared.opts.return_mask_composite)
    return list(range(processed.index_of_first_image, len(processed.images), step))


def model_name(p: Any) -> str:
    return str(getattr(p, "sd_model_name", None) or shared.sd_model.sd_checkpoint_info.name_for_extra)


def grid_background() -> str:
    return str(getattr(shared.opts, "grid_background_color", "#ffffff"))


def shows_grids() -> bool:
    return bool(shared.opts.return_grid)


def label_image(image: Image.Image, infotext: str) -> None:
    """Puts the infotext where the browser's download finds it, if the WebUI is to write it at all."""
    if shared.opts.enable_pnginfo:
        image.info["parameters"] = infotext


def save_grid(p: Any, grid: Image.Image, infotext: str) -> None:
    """Saves into the grid directory under the WebUI's settings, unless they say not to."""
    if not shared.opts.grid_save or p.do_not_save_grid:
        return
    images.save_image(
        grid, p.outpath_grids, "heatmap", p.all_seeds[0], p.all_prompts[0], shared.opts.grid_format, info=infotext,
        short_filename=not shared.opts.grid_extended_filename, p=p, grid=True,
    )  # fmt: skip


def saves_pictures(p: Any) -> bool:
    return bool(p.save_samples()) if hasattr(p, "save_samples") else not p.do_not_save_samples  # since 1.6


def save_beside(p: Any, image: Image.Image, picture: Image.Image, number: int, suffix: str, infotext: str) -> None:
    """Saves an image under the name of the saved picture with a suffix, in the WebUI's format."""
    if not saves_pictures(p):
        return
    file = saved_file(picture)
    arguments: dict[str, Any] = {"info": infotext, "p": p}
    if file is None:
        folder, arguments["suffix"] = Path(p.outpath_samples), f"-{suffix}"
    else:
        folder, arguments["forced_filename"], arguments["save_to_dirs"] = file.parent, f"{file.stem}-{suffix}", False
    seed, prompt = p.all_seeds[number], p.all_prompts[number]
    images.save_image(image, str(folder), "", seed, prompt, shared.opts.samples_format, **arguments)


def saved_file(picture: Image.Image) -> Path | None:
    """Where the WebUI saved a picture; None when it did not."""
    file = getattr(picture, "already_saved_as", None)
    return None if file is None else Path(str(file).rsplit("?", 1)[0])


def output_folders() -> list[Path]:
    """Where the WebUI saves pictures, by its settings."""
    kinds = ("samples", "txt2img_samples", "img2img_samples", "extras_samples", "save")
    folders = [str(getattr(shared.opts, f"outdir_{kind}", "") or "").strip() for kind in kinds]
    return [Path(folder) for folder in folders if folder]


def option(name: str, default: Any) -> Any:
    """One of our own settings of the WebUI's settings page."""
    value = getattr(shared.opts, name, default)
    return default if value is None else value


def _total_steps(sampler: str, steps: int) -> int:
    config = sd_samplers.find_sampler_config(sampler)
    return int(config.total_steps(steps)) if config else steps
