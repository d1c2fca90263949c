"""Runs the unit tests of the pure JavaScript on Node, with numbers that the Python side makes here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from daam.maps.scales import SCALES, apply_scale
from daam.maps.statistics import shares_in_box
from daam.pictures.blends import BLENDS, opacity_levels
from daam.pictures.colormaps import colorize, lookup_table
from daam.prompt import ClipTokenizer, parse_prompt
from daam.results.viewer.data import prompt_frames
from tests.places import TOKENIZER

TESTS = Path(__file__).parents[1] / "javascript"
NODE = shutil.which("node")
CLIP = ClipTokenizer.from_folder(TOKENIZER)
EDITED = [
    "a (red:1.2) cat, a cat", "a (cat:0.1)", "one (red:1.2) cat", "((red)) cat", "[red] cat", "a red cat",
    "a (red:1.2) cat", "(red cat:1.2), b", "(red:1.5), (cat:1.2)", "(red:1.1)(cat:1.2)", "(a cat:0)", "a | cat b",
]  # fmt: skip
"""Prompts of edits.test.js."""


def vectors() -> dict[str, object]:
    generator = np.random.default_rng(0)
    upscale = []
    for size, target in (((3, 4), (9, 12)), ((4, 4), (7, 10)), ((5, 2), (5, 2))):
        values = generator.random(size, np.float32)
        large = functional.interpolate(
            torch.from_numpy(values)[None, None], target, mode="bicubic", align_corners=False
        )
        upscale.append(
            {"values": values.ravel().tolist(), "size": size, "target": target, "expected": large.ravel().tolist()}
        )
    maps = generator.random((3, 4, 5), np.float32)
    sum_of_all = maps.sum(axis=0)
    levels = np.array([[-0.1, 0.0, 1 / 256, 0.5, 0.999, 1.0, 1.2]], np.float32)
    return {
        "upscale": upscale,
        "maps": [each.ravel().tolist() for each in maps],
        "scales": {name: [m.ravel().tolist() for m in apply_scale(name, maps, sum_of_all)] for name in SCALES},
        "colours": {
            "values": levels.ravel().tolist(),
            "table": lookup_table("turbo").ravel().tolist(),
            "expected": colorize(levels, "turbo")[0].tolist(),
        },
        "blends": {
            name: [[opacity, opacity_levels(name, opacity).tolist()] for opacity in (0, 0.3, 0.5, 1)] for name in BLENDS
        },
        "rank": [
            {"box": box, "expected": shares_in_box(maps, box)} for box in ((0, 0, 5, 4), (1, 2, 3, 4), (4, 0, 5, 1))
        ],
        "mask": (maps[0] >= 0.4 * maps[0].max()).ravel().tolist(),
        "frames": {prompt: prompt_frames(parse_prompt(prompt, CLIP)).to_data() for prompt in EDITED},
    }


def test_the_javascript_agrees_with_python(tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("node is not installed")
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps(vectors()), "utf-8")
    done = subprocess.run(
        [NODE, "--test", *map(str, sorted(TESTS.glob("*.test.js")))],
        env={**os.environ, "VECTORS": str(file)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "# skipped 0" in done.stdout or "skipped 0" in done.stdout
