"""The maps are what the model really attended to: against hooks of the tests' own, row by row, in each WebUI."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from daam.results.settings import SETTINGS
from tests.real_webui.rows import FLUX, IMG2IMG, LONG, SMALL
from tests.real_webui.server import Server
from tests.real_webui.webuis import AND, TRANSFORMERS

TOLERANCE = 1e-4
"""Of probabilities added up over heads and steps."""


@dataclass(frozen=True)
class Text:
    """Whose maps are compared: of which picture, side and AND part."""

    image: int
    side: str = "positive"
    part: int = 0


@dataclass(frozen=True)
class Case:
    """Attributes: images, parts: of the generation; period: of a side's text, where the host sets it behind itself;
    is_guided: by the negative prompt, at a CFG above 1."""

    payload: dict[str, Any]
    images: int = 1
    parts: int = 1
    period: tuple[str, int] | None = None
    only_forges: bool = False
    checkpoint: str = "sd1"
    is_guided: bool = True

    def row(self, text: Text, *, has_groups: bool) -> int:
        """Number of the text's row in the one call of each step, from the end where the host calls with groups.

        Groups: the negative one, which Forge Classic leaves out of the first call, then the parts from the last to the
        first, each with all images. A1111: every part of every image, then the negative prompts.
        """
        if not has_groups:
            positive = text.image * self.parts + text.part
            return positive if text.side == "positive" else self.images * self.parts + text.image
        groups_after = self.parts if text.side == "negative" else text.part
        return text.image - (groups_after + 1) * self.images


TWO = {"prompt": "a red circle AND a tree", "batch_size": 2}
CASES = {
    "plain": Case({}),
    "a batch of two with two parts": Case(TWO, images=2, parts=2),
    "a negative prompt of two chunks": Case({"negative_prompt": LONG}, period=("positive", 77), only_forges=True),
    "a batch of two with emphasis": Case({"prompt": "a (red:1.3) circle, [blue] tree", "batch_size": 2}, images=2),
    "a prompt of two chunks": Case({"prompt": LONG}, period=("negative", 77), only_forges=True),
    "SDXL": Case({"batch_size": 2}, images=2, checkpoint="sdxl", only_forges=True),
    "Flux with guidance": Case({**FLUX, "cfg_scale": 4}, checkpoint="flux", only_forges=True),
    "Flux, a batch of two with two parts": Case(
        {**FLUX, **TWO, "cfg_scale": 4}, images=2, parts=2, checkpoint="flux", only_forges=True
    ),
    **{
        name: Case({**FLUX, "batch_size": 2}, images=2, checkpoint=checkpoint, only_forges=True, is_guided=False)
        for name, checkpoint in (
            ("Chroma", "chroma"),
            ("Lumina 2", "lumina"),
            ("Z-Image", "z_image"),
            ("Anima", "anima"),
            ("Qwen-Image", "qwen_image"),
            ("Krea 2", "krea"),
            ("Flux 2 Klein", "klein"),
        )  # fmt: skip
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_maps_are_what_the_model_attended_to(server: Server, case: Case) -> None:
    kind = server.kind
    checkpoint = kind.checkpoint(case.checkpoint)
    if checkpoint is None or (case.only_forges and not kind.has_groups):
        pytest.skip(f"not of {kind.name}")
    if kind.has_pipelines and case.checkpoint in TRANSFORMERS:
        pytest.skip("what pipelines of diffusers attend to is compared in tests/hosts")
    if case.parts > 1:
        server.needs(AND)
    values = {"enabled": True, "with_negative": True}
    scripts = {
        "Attention Heatmap": {"args": [values.get(setting.name, setting.default) for setting in SETTINGS]},
        "Bench": {"args": ["truth"]},
    }
    size = {"width": 64, "height": 64} if kind.is_forge else {}
    negative = {"negative_prompt": "an ugly tree"}
    payload = {"prompt": "a red circle", **negative, **SMALL, **size, **case.payload, "alwayson_scripts": scripts}
    payload["override_settings"] = {"sd_model_checkpoint": checkpoint}
    answer = server.post("/sdapi/v1/txt2img", payload)
    result = json.loads(answer["info"])["extra_generation_params"]["Attention Heatmap result"]
    texts = [Text(image, "positive", part) for image in range(case.images) for part in range(case.parts)]
    texts += [Text(image, "negative") for image in range(case.images) if case.is_guided]
    for text in texts:
        where: dict[str, Any] = {"calls": [0, 1], "run": 0, "row": case.row(text, has_groups=kind.has_groups)}
        if kind.is_forge and case.period is not None and case.period[0] == text.side:
            where["period"] = case.period[1]
        query = {"result": result, "image": text.image, "side": text.side, "part": text.part, "entry": 0}
        error = server.post("/bench/error", where, **{name: str(value) for name, value in query.items()})
        assert error < TOLERANCE, text
    assert server.get("/bench/left")["hooks"] == 0


@pytest.mark.parametrize("name", ["flux", "chroma", "kontext", "qwen_image", "klein"])
def test_words_beside_the_prompt_that_are_the_prompt_get_what_the_prompt_gets(server: Server, name: str) -> None:
    """In the host's own network: their stream has its embedding, its rotary positions, block after block."""
    kind = server.kind
    checkpoint = kind.checkpoint(name)
    if checkpoint is None or kind.has_pipelines:
        pytest.skip(f"not of {kind.name}")
    payload = {"prompt": "a red circle", **SMALL, **FLUX, "width": 64, "height": 64, "batch_size": 2}
    path = "txt2img"
    if name == "kontext":
        payload, path = {**payload, **IMG2IMG}, "img2img"
    payload["override_settings"] = {"sd_model_checkpoint": checkpoint}
    payload["alwayson_scripts"] = {"Bench": {"args": ["first call"]}}
    server.post(f"/sdapi/v1/{path}", payload)
    assert server.get("/bench/own_words") < 1e-3
    assert server.get("/bench/left")["hooks"] == 0
