"""What the WebUI loads: finds our package beside this folder, whatever else is called `daam`, and registers it."""

import sys
from pathlib import Path

for name in [name for name in sys.modules if name.split(".")[0] == "daam"]:
    del sys.modules[name]  # another package of that name, or our own from before "Reload UI"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
try:
    from daam.webui.registration import AttentionHeatmapScript, AttentionHeatmapStudy, register  # noqa: F401
finally:
    sys.path.pop(0)
register()
