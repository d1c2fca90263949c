"""A self-contained HTML file with the viewer of each picture; scripts, styles and data are in it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daam.errors import ModelError
from daam.results.result import Result
from daam.results.viewer.data import viewer_of

SCRIPTS = tuple(
    f"attention_heatmap_{name}.js"
    for name in (
        "maps", "word_maps", "edits", "colours", "selection", "parts", "prompts", "look", "stage", "beside",
        "word_line", "word_list", "relatives", "viewer",
    )
)  # fmt: skip
"""What the viewer consists of. One more may set `attentionHeatmap.callbacks`, which connects the viewers."""
_HERE = Path(__file__).parent
_HOMES = (_HERE.parents[2], _HERE / "assets")
"""Where `javascript/` and `style.css` lie: at the top of the repository, as the WebUI wants it, or in the package."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0; background: #f4f4f6; }} body.dark {{ background: #101014; }}
main {{ max-width: 900px; margin: 0 auto; padding: 12px; display: grid; gap: 16px; }}
main {{ font: 14px/1.45 system-ui, sans-serif; color: #1f2937; }} .dark main {{ color: #f3f4f6; }}
main > * {{ min-width: 0; }} h1 {{ font-size: 18px; margin: 4px 0; overflow-wrap: anywhere; }}
.facts {{ margin: 0; color: #575e6b; overflow-wrap: anywhere; }} .dark .facts {{ color: #a6adba; }}
{style}</style>
</head>
<body>
<main><header><h1>{title}</h1><p class="facts">{facts}</p></header></main>
<script type="application/json" id="data">{data}</script>
<script type="application/json" id="state">null</script>
<script>{scripts}</script>
<script>
const isDark = attentionHeatmap.isDark ?? matchMedia("(prefers-color-scheme: dark)").matches;
document.body.classList.toggle("dark", isDark);
const read = (id) => JSON.parse(document.getElementById(id).textContent);
read("data").forEach((each, number) => {{
    const element = document.createElement("section");
    element.setAttribute("aria-label", `picture ${{number + 1}}`);
    document.querySelector("main").append(element);
    const state = attentionHeatmap.memoryOf ? attentionHeatmap.memoryOf(each, number) : read("state");
    const viewer = attentionHeatmap.viewer.mount(element, each, attentionHeatmap.callbacks, state);
    attentionHeatmap.onMount?.(viewer, each, number);
}});
</script>
</body>
</html>
"""


def report_html(result: Result, *, scripts: Sequence[str] = SCRIPTS) -> str:
    """The page of one generation.

    Args:
        scripts: files of `javascript/`.
    """
    data = [viewer_of(result, image) for image in range(len(result.traces))]
    title = result.traces[0].positive.prompt if result.traces else "Attention Heatmap"
    return PAGE.format(
        title=html.escape(title), facts=html.escape(" · ".join(facts(result))), style=asset("style.css"),
        data=safe_json(data), scripts="\n".join(asset(f"javascript/{name}") for name in scripts),
    )  # fmt: skip


def facts(result: Result) -> list[str]:
    """What the generation was made with, as far as it is known: "seed 3", "128×128", "20 steps"."""
    notes, settings = result.notes, result.notes.settings
    steps, guidance, negative = (settings.get(name) for name in ("steps", "guidance_scale", "negative"))
    size = f"{result.pictures[0].width}×{result.pictures[0].height}" if result.pictures else ""
    known = [
        f"seed {notes.seed}", notes.model, size, "" if steps is None else f"{steps} steps", settings.get("sampler", ""),
        "" if guidance is None else f"guidance {guidance:g}", f"without: {negative}" if negative else "", notes.date,
    ]  # fmt: skip
    return [str(each) for each in known if each]


def safe_json(data: Any) -> str:
    """JSON that may stand in a script element, whatever the prompt holds."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def asset(name: str) -> str:
    """One of the viewer's files.

    Raises:
        ModelError: it is not there; the installation is not complete.
    """
    for home in _HOMES:
        if (home / name).is_file():
            return (home / name).read_text("utf-8")
    raise ModelError(f"expected {name} of the viewer in {_HOMES[0]} or {_HOMES[1]}; install the package again")
