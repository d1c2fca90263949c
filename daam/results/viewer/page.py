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

SCRIPTS = (
    "attention_heatmap_maps.js",
    "attention_heatmap_word_maps.js",
    "attention_heatmap_edits.js",
    "attention_heatmap_viewer.js",
)
"""In the order in which they are loaded. One more may set `attentionHeatmap.callbacks`, which connects the viewers."""
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
{style}</style>
</head>
<body>
<main></main>
<script type="application/json" id="data">{data}</script>
<script>{scripts}</script>
<script>
document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
for (const each of JSON.parse(document.getElementById("data").textContent)) {{
    const element = document.createElement("section");
    document.querySelector("main").append(element);
    attentionHeatmap.viewer.mount(element, each, attentionHeatmap.callbacks);
}}
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
        title=html.escape(title), style=asset("style.css"), data=safe_json(data),
        scripts="\n".join(asset(f"javascript/{name}") for name in scripts),
    )  # fmt: skip


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
