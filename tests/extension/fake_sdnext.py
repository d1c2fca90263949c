"""Stands in for the parts of SD.Next that our files for it import: its prompt parser, and how it calls pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.extension.fake_modules import modules_in_place

NAMES = (
    "modules", "modules.images", "modules.paths", "modules.processing", "modules.processing_diffusers",
    "modules.prompt_parser", "modules.prompt_parser_diffusers", "modules.scripts", "modules.shared",
    "modules.ui_components",
)  # fmt: skip
OURS = tuple(
    f"daam.webui.hosts.{name}"
    for name in ("sdnext", "sdnext_texts", "sdnext_watch", "a1111_gallery", "a1111_page", "a1111_settings")
)
WEIGHTED = re.compile(r"\((?P<text>[^():]+):(?P<weight>[.\d]+)\)|(?P<plain>[^()]+)")


class Provider:
    """As compel's `EmbeddingsProvider`: cuts a long text where a sentence ends, else after 75 tokens."""

    max_token_count = 77

    def __init__(self, tokenizer: Any, _encoder: Any, **_: Any) -> None:
        self._tokenizer = tokenizer

    def get_token_ids_and_expand_weights(self, texts: list[str], weights: list[float], _device: str) -> Any:
        import torch

        left = [token for text in texts for token in self._tokenizer(text)["input_ids"][1:-1]]
        found: list[int] = []
        stop = self._tokenizer.convert_tokens_to_ids(".</w>")
        while left or not found:
            stops = [place for place, token in enumerate(left[:75]) if token == stop]
            end = stops[-1] + 1 if stops and len(left) > 75 else 75
            chunk, left = left[:end], left[end:]
            own = [self._tokenizer.bos_token_id, *chunk, self._tokenizer.eos_token_id]
            found += own + [self._tokenizer.eos_token_id] * (77 - len(own))
        return torch.tensor(found), None, None


class FakeSdNext:
    """Attributes: shared: as `modules.shared`; calls: arguments of the pipelines' calls, in order."""

    def __init__(self, pipeline: Any) -> None:
        modules = {name: ModuleType(name) for name in NAMES}
        self.modules = modules
        self.shared = modules["modules.shared"]
        self.embedder = modules["modules.prompt_parser_diffusers"]
        self.diffusers = modules["modules.processing_diffusers"]
        self.calls: list[dict[str, Any]] = []
        options = SimpleNamespace(
            prompt_attention="native", mask_apply_overlay=True, return_grid=True, image_metadata=True, grid_save=True,
            samples_save=True, outdir_samples="", data_labels={}, samples_format="png", data={},
        )  # fmt: skip
        state = SimpleNamespace(interrupted=False, skipped=False)
        vars(self.shared).update(sd_model=pipeline, opts=options, state=state)
        vars(modules["modules.prompt_parser"]).update(get_learned_conditioning_prompt_schedules=schedules)
        vars(self.embedder).update(get_prompts_with_weights=fragments, EmbeddingsProvider=Provider, embedder=None)
        vars(self.diffusers).update(set_pipeline_args=self.set_pipeline_args, process_diffusers=self.process_diffusers)
        vars(modules["modules.paths"]).update(resolve_output_path=lambda base, own: own)
        vars(modules["modules.scripts"]).update(AlwaysVisible=object(), scripts_data=[])
        vars(modules["modules.ui_components"]).update(InputAccordion=object)
        for name, module in modules.items():
            parent, _, own = name.rpartition(".")
            if parent:
                setattr(modules[parent], own, module)

    def set_pipeline_args(
        self, p: Any, model: Any, prompts: list[str], negative_prompts: list[str], desc: str = "", **named: Any
    ) -> dict[str, Any]:
        """Encodes as the host does, before the pipeline is called; each prompt by itself."""
        import torch

        from daam.hosts.diffusers_encode import TextEncoding
        from daam.prompt import ClipTokenizer, parse_prompt

        encoding, tokenizer = TextEncoding(model, "No norm"), ClipTokenizer.from_transformers(model.tokenizer)

        def encoded(texts: list[str]) -> Any:
            found = []
            for text in texts:
                entry = parse_prompt(text, tokenizer, comma_padding=0, emphasis="No norm").parts[0].schedule[0]
                found.append(encoding.encode(entry).context)
            return torch.cat(found)

        arguments = {"num_inference_steps": named["num_inference_steps"], "guidance_scale": 5.0, "output_type": "pil"}
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
        return {
            **arguments, "generator": generators, "prompt_embeds": encoded(prompts),
            "negative_prompt_embeds": encoded(negative_prompts),
        }  # fmt: skip

    def process_diffusers(self, p: Any) -> Any:
        """One pass, or two with hires fix; the arguments are made right before each call."""
        images = None
        for is_second in (False, True)[: 1 + bool(p.enable_hr)]:
            p.is_hr_pass = is_second
            arguments = self.diffusers.set_pipeline_args(  # type: ignore[attr-defined]
                p=p, model=self.shared.sd_model, prompts=p.prompts, negative_prompts=p.negative_prompts,
                desc="Hires" if is_second else "Base", num_inference_steps=p.steps,
            )  # fmt: skip
            self.calls.append(arguments)
            images = self.shared.sd_model(**arguments).images
        p.is_hr_pass = False
        return images


def processing(prompts: list[str], negative: list[str], steps: int = 2, **named: Any) -> SimpleNamespace:
    """As a processing object of SD.Next in the middle of a generation."""
    values = {
        "prompts": prompts, "negative_prompts": negative, "all_prompts": prompts, "all_negative_prompts": negative,
        "batch_size": len(prompts), "iteration": 0, "steps": steps, "enable_hr": False, "hr_force": True,
        "is_hr_pass": False, "comments": {}, "detailer_enabled": False, "per_script_args": {},
    }  # fmt: skip
    return SimpleNamespace(**{**values, **named})


def schedules(prompts: list[str], steps: int) -> list[list[list[Any]]]:
    """No prompt here is edited but `[a:b:N]`, which has N as its step."""
    found = []
    for prompt in prompts:
        edit = re.search(r"\[([^:\]]*):([^:\]]*):(\d+)\]", prompt)
        if edit is None:
            found.append([[steps, prompt]])
        else:
            texts = [prompt.replace(edit[0], edit[number]) for number in (1, 2)]
            found.append([[int(edit[3]), texts[0]], [steps, texts[1]]])
    return found


def fragments(_pipeline: Any, prompt: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """As the native parser: no blank around a fragment, and no punctuation at its beginning."""
    found: list[tuple[str, float]] = []
    for match in WEIGHTED.finditer(prompt):
        weight = float(match["weight"] or 1)
        for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", match["text"] or match["plain"])):
            found += [("BREAK", -1.0)] if number else []
            part = re.sub(r"^\W+", "", part).strip()
            found += [(part, weight)] if part else []
    return tuple(zip(*(found or [("", 1.0)])))  # type: ignore[return-value]


@contextmanager
def fake_sdnext(pipeline: Any = None) -> Iterator[FakeSdNext]:
    """While it lasts, our files for SD.Next can be imported, anew, with it."""
    fake = FakeSdNext(pipeline)
    with modules_in_place(fake.modules, OURS):
        yield fake
