"""A second extension for the tests: looks inside the running WebUI, and plays other extensions and accidents."""

from __future__ import annotations

import functools
import gc
import importlib.util
import sys
import time
from copy import copy
from pathlib import Path
from typing import Any

import gradio as gr
import psutil
import torch
from modules import processing, script_callbacks, scripts, shared
from PIL import Image

HERE = Path(__file__).resolve().parents[1]
IS_SDNEXT = importlib.util.find_spec("modules.processing_diffusers") is not None
IS_FORGE = importlib.util.find_spec("modules_forge") is not None
sys.path[:0] = [str(HERE.parent), str(HERE)]
from beside import ModelCall, error_of_own_words, keep_first_call  # noqa: E402
from truth import truth_of  # noqa: E402

if IS_FORGE:
    from forge import make_encoders_small

    make_encoders_small()
elif not IS_SDNEXT:
    from make_checkpoints import register_open_clip
    from sd3 import make_sd3

    register_open_clip()
del sys.path[:2]
MODES = (
    "", "nested generation", "instance forward", "wrapped sample", "error in the UNet", "error in our hook",
    "out of memory in our hook", "interrupt", "skip", "wildcards", "moved rows", "truth", "first call",
)  # fmt: skip


def unet() -> torch.nn.Module:
    if IS_SDNEXT:
        pipeline = shared.sd_model
        return getattr(pipeline, "unet", None) or pipeline.transformer
    model = shared.sd_model.forge_objects.unet if IS_FORGE else shared.sd_model
    return model.model.diffusion_model


def encoders() -> list[Any]:
    """What cuts prompts into tokens for the loaded model; of Flux T5, whose columns condition it."""
    alone = _engine_alone()
    if alone is not None:
        return [alone]
    if hasattr(shared.sd_model, "text_processing_engine") or hasattr(shared.sd_model, "text_processing_engine_g"):
        names = ("text_processing_engine", "text_processing_engine_l", "text_processing_engine_g")
        return [getattr(shared.sd_model, name) for name in names if hasattr(shared.sd_model, name)]
    conditioner = shared.sd_model.cond_stage_model
    candidates = (conditioner, *getattr(conditioner, "embedders", []), getattr(conditioner, "model_lg", None))
    return [encoder for encoder in candidates if hasattr(encoder, "tokenize_line")]


def _engine_alone() -> Any | None:
    """The engine of a model with joint attention; what stands behind its first chunk is not used."""
    names = (f"text_processing_engine_{name}" for name in ("t5", "gemma", "anima", "qwen"))
    return next((getattr(shared.sd_model, name) for name in names if hasattr(shared.sd_model, name)), None)


class Bench(scripts.Script):  # type: ignore[misc]
    def title(self) -> str:
        return "Bench"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        return [gr.Dropdown(choices=list(MODES), value="", label="Mode", visible=False)]

    def process(self, p: Any, mode: str) -> None:
        if mode == "wildcards":
            words = ("tree", "sun", "moon", "house")
            p.all_prompts = [f"{prompt} {word}" for prompt, word in zip(p.all_prompts, words)]

    def process_batch(self, p: Any, mode: str, **_: Any) -> None:
        Bench.started = time.perf_counter()
        if mode == "instance forward":
            for module in unet().modules():
                if hasattr(module, "attn2"):
                    module.attn2.forward = _attention(module.attn2)
        elif mode == "wrapped sample":
            previous = p.sample

            def sample(*arguments: Any, **named: Any) -> Any:
                p.sample = previous
                return p.sample(*arguments, **named)

            p.sample = sample
        elif mode == "error in the UNet":
            _fail_at_third_call()
        elif mode in ("error in our hook", "out of memory in our hook"):
            _break_our_hook(torch.OutOfMemoryError if "memory" in mode else RuntimeError)
        elif mode in ("interrupt", "skip"):
            Bench.stop = mode
        Bench.moves = mode == "moved rows"
        _forget_truth()
        if mode == "truth":
            Bench.truth = truth_of(unet(), has_layers=IS_SDNEXT)
        Bench.calls = keep_first_call(unet()) if mode == "first call" else []

    def postprocess_batch(self, p: Any, mode: str, **_: Any) -> None:
        Bench.seconds = time.perf_counter() - Bench.started
        if Bench.truth is not None:
            Bench.truth.remove()
        if mode == "instance forward":
            for module in unet().modules():
                if hasattr(module, "attn2"):
                    del module.attn2.forward

    def postprocess_image(self, p: Any, pp: Any, mode: str) -> None:
        if mode != "nested generation":
            return
        p.scripts.postprocess(copy(p), processing.Processed(p, []))
        inner = processing.StableDiffusionProcessingImg2Img(
            sd_model=shared.sd_model, init_images=[pp.image], prompt="a nested dog", steps=3, seed=7,
            sampler_name="Euler a", width=p.width, height=p.height, denoising_strength=0.5, do_not_save_samples=True,
            do_not_save_grid=True,
        )  # fmt: skip
        if IS_FORGE:  # reForge fails at a generation without them
            inner.scripts = scripts.ScriptRunner()
        torch.manual_seed(7)  # the encoder of img2img draws from the global generator
        pp.image = processing.process_images(inner).images[0]
        copied = copy(p)
        p.scripts.before_process(copied)
        p.scripts.process(copied)

    stop: str = ""
    moves: bool = False
    truth: Any = None
    calls: list[ModelCall] = []
    started: float = 0.0
    seconds: float = 0.0


def _forget_truth() -> None:
    """Its hooks too, where a generation failed."""
    if Bench.truth is not None:
        Bench.truth.remove()
    Bench.truth = None


def _attention(attention: torch.nn.Module) -> Any:
    def forward(x: torch.Tensor, context: Any = None, mask: Any = None, **_: Any) -> torch.Tensor:
        context = x if context is None else context
        q, k, v = (
            part.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for part in (attention.to_q(x), attention.to_k(context), attention.to_v(context))
        )
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return attention.to_out(mixed.transpose(1, 2).flatten(2))

    return forward


def _fail_at_third_call() -> None:
    calls = []

    def hook(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            handle.remove()
            raise RuntimeError("bench: the UNet fails")

    handle = unet().register_forward_pre_hook(hook)


def _break_our_hook(kind: type[Exception]) -> None:
    layout = sys.modules["daam.tracing.layout"]
    original, calls = layout.probabilities, []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            layout.probabilities = original
            raise kind("bench: our hook fails")
        return original(*arguments)

    layout.probabilities = broken


def on_denoiser(params: Any) -> None:
    if Bench.moves:  # after our callback, as an extension that is loaded later does
        params.text_cond = params.text_cond.flip(0)
    if Bench.stop and params.denoiser.step >= 3:
        stop, Bench.stop = Bench.stop, ""
        shared.state.interrupt() if stop == "interrupt" else shared.state.skip()


def left() -> dict[str, int]:
    """What is on the modules of the loaded model that could be left there."""
    whole = [unet(), shared.sd_model.forge_objects.clip.cond_stage_model] if IS_FORGE else [shared.sd_model]
    if IS_SDNEXT:
        whole = [part for part in shared.sd_model.components.values() if isinstance(part, torch.nn.Module)]
    modules = [module for each in whole for module in each.modules()]
    return {
        "hooks": sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules),
        "replaced": sum("forward" in vars(module) for module in modules),
    }


def state() -> dict[str, Any]:
    """Everything that a leak would change; takes seconds."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
    return {
        **left(),
        "tensors": len(tensors),
        "tensor_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "rss": psutil.Process().memory_info().rss,
    }


def t5_tokens(text: str, count: int) -> list[int]:
    """The tokens of SD3's T5, made by the WebUI itself."""
    return list(shared.sd_model.cond_stage_model.model_t5.tokenize_line(text, target_token_count=count)[0])


def tokens(text: str, negative: bool = False) -> list[list[list[int]]]:
    """The chunks of every encoder, made by the WebUI itself; of T5 and its kin the first, as it uses no other."""
    alone = _engine_alone()
    if hasattr(alone, "process_template"):
        text = alone.process_template(text, negative)
    made = [encoder.tokenize_line(text) for encoder in encoders()]
    found = [[_tokens_of(chunk) for chunk in (each[0] if isinstance(each, tuple) else each)] for each in made]
    if hasattr(alone, "strip_template"):
        found = [[_left(alone, chunk) for chunk in chunks] for chunks in found]
    return found if alone is None else [chunks[:1] for chunks in found]


def _left(engine: Any, tokens: list[int]) -> list[int]:
    """Those that are left when the engine has cut its template off what it encoded, of which Krea's has more axes."""
    encoded = torch.tensor(tokens)[:, None].expand(-1, 2 * len(tokens))
    encoded = encoded[None, None] if getattr(shared.sd_model, "krea2", False) else encoded
    return [int(token) for token in engine.strip_template(encoded, tokens).flatten(0, -2)[:, 0]]


def _tokens_of(chunk: Any) -> list[int]:
    """Of Anima's two kinds those of T5, which its columns are of."""
    return list(chunk.t5_tokens if hasattr(chunk, "t5_tokens") else chunk.tokens)


def error(result: str, image: int, side: str, part: int, entry: int, where: dict[str, Any]) -> float:
    """How far the maps of one text of a finished generation are from what was recorded; see `Truth.error`."""
    texts = sys.modules["daam.webui.result_store"].store.get(result).traces[image].texts
    (maps,) = (maps for key, maps in texts.items() if (key.side, key.part, key.entry) == (side, part, entry))
    assert Bench.truth is not None
    return Bench.truth.error(maps.sums, maps.text.columns, where)


def own_words() -> float:
    """See `beside`; of the call that was kept in the mode "first call"."""
    return error_of_own_words(unet(), Bench.calls[0])


def optimization(name: str) -> str:
    """Switches the attention optimisation of the loaded model."""
    from modules import sd_hijack

    hijack = sd_hijack.model_hijack
    sd_hijack.undo_optimizations()
    titles = {optimizer.name: optimizer.title() for optimizer in sd_hijack.optimizers}
    hijack.apply_optimizations(titles.get(name, name))
    return str(hijack.optimization_method)


def sd3(folder: str) -> bool:
    """Makes the checkpoint "sd3"; False in a WebUI before 1.10, which knows no SD3."""
    if importlib.util.find_spec("modules.models.sd3") is None:
        return False
    make_sd3(Path(folder))
    return True


def add_routes(_demo: Any, app: Any) -> None:
    app.add_api_route("/bench/left", left, methods=["GET"])
    app.add_api_route("/bench/state", state, methods=["GET"])
    app.add_api_route("/bench/seconds", lambda: Bench.seconds, methods=["GET"])
    app.add_api_route("/bench/tokens", tokens, methods=["GET"])
    app.add_api_route("/bench/t5_tokens", t5_tokens, methods=["GET"])
    app.add_api_route("/bench/sd3", sd3, methods=["POST"])
    app.add_api_route("/bench/error", error, methods=["POST"])
    app.add_api_route("/bench/own_words", own_words, methods=["GET"])
    app.add_api_route("/bench/optimization", optimization, methods=["POST"])


def always_detect(*_: Any) -> None:
    """ADetailer's detectors want weights that are not here: a box stands for what they find."""
    for data in scripts.scripts_data:
        if hasattr(data.module, "mediapipe_predict"):
            data.module.mediapipe_predict = functools.partial(_box, sys.modules["adetailer.common"].PredictOutput)


def _box(output: Any, _model: str, image: Any, _confidence: float) -> Any:
    box = (image.width // 4, image.height // 4, image.width // 2, image.height // 2)
    mask = Image.new("L", image.size)
    mask.paste(255, box)
    return output(bboxes=[list(box)], masks=[mask], confidences=[0.9], preview=image)


script_callbacks.on_app_started(always_detect)
script_callbacks.on_app_started(add_routes)
script_callbacks.on_cfg_denoiser(on_denoiser)
