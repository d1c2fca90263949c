"""Stands in for the parts of Forge and Forge Neo that our files for them import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from tests.extension.fake_modules import modules_in_place

NAMES = (
    "modules", "modules.prompt_parser", "modules.shared", "modules.processing", "modules.script_callbacks",
    "modules.sd_samplers", "backend", "backend.args", "backend.text_processing",
    "backend.text_processing.classic_engine", "backend.text_processing.emphasis",
)  # fmt: skip
OURS = ("daam.webui.hosts.forge_texts", "daam.webui.hosts.forge_sampling", "daam.webui.hosts.webui_texts",
        "daam.webui.hosts.webui_sampling")  # fmt: skip


class Engine:
    """As `ClassicTextProcessingEngine`: cuts a line by its own emphasis, which it looks up only when it encodes."""

    def __init__(self, host: FakeForge) -> None:
        self._host = host
        self.emphasis: Any = SimpleNamespace(name="Original")
        self.tokenizer = object()
        self.embeddings = SimpleNamespace(word_embeddings={"tinyword": SimpleNamespace(vectors=3)})

    def tokenize_line(self, line: str) -> tuple[list[Any], int]:
        return [SimpleNamespace(tokens=[self.emphasis.name, *line.split()])], len(line.split())

    def __call__(self, texts: list[str]) -> torch.Tensor:
        self._host.used["Emphasis"] = "Original"
        return torch.stack([torch.full((77, 4), float(len(text))) for text in texts])


class FakeForge:
    """Attributes: shared: as `modules.shared`; used: what the engines keep for infotexts; model: that is loaded; asked:
    with what besides texts each conditioning was asked for."""

    def __init__(self, *, is_neo: bool) -> None:
        modules = {name: ModuleType(name) for name in NAMES}
        self.modules = modules
        self.used: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.model = SimpleNamespace(is_sd1=True, is_sdxl=False)
        self.shared = modules["modules.shared"]
        vars(self.shared).update(sd_model=self.model, opts=SimpleNamespace(emphasis="Original"))
        classic = modules["backend.text_processing.classic_engine"]
        vars(classic)["ClassicTextProcessingEngine"] = Engine
        vars(modules["backend.args"])["dynamic_args"] = SimpleNamespace(last_extra_generation_params={})
        if is_neo:
            modules["backend.args"].dynamic_args.last_extra_generation_params = self.used  # type: ignore[attr-defined]
        else:
            vars(classic)["last_extra_generation_params"] = self.used
        vars(modules["backend.text_processing.emphasis"])["get_current_option"] = lambda name: (
            lambda: SimpleNamespace(name=name)
        )
        vars(modules["modules.prompt_parser"]).update(SdConditioning=self._conditioning, __file__="prompt_parser.py")
        vars(modules["modules.processing"])["opt_f"] = 8
        for name, module in modules.items():
            parent, _, own = name.rpartition(".")
            if parent:
                setattr(modules[parent], own, module)
        self.engine = self.model.text_processing_engine = Engine(self)
        self.model.get_learned_conditioning = self.engine

    def _conditioning(self, texts: list[str], **given: Any) -> list[str]:
        self.asked.append(given)
        return list(texts)


@contextmanager
def fake_forge(*, is_neo: bool = True) -> Iterator[FakeForge]:
    """While it lasts, our files for Forge can be imported, anew, with it."""
    fake = FakeForge(is_neo=is_neo)
    with modules_in_place(fake.modules, OURS):
        yield fake
