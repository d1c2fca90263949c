"""Installs what the extension needs and the WebUI's environment lacks; never changes a package that is there.

The WebUI runs this file at each start, and not with --skip-install.
"""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from importlib.util import find_spec

NEEDED = {
    "cv2": "opencv-python-headless",
    "matplotlib": "matplotlib",
    "lark": "lark",
    "regex": "regex",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
}
"""Module to package. torch, numpy and pillow are the WebUI's own.

ftfy is left out: where a host has none, its CLIP tokenizer would cut prompts in another way if it were there, and make
other pictures of them.
"""


def missing_packages() -> list[str]:
    return [package for module, package in NEEDED.items() if find_spec(module) is None]


def install(packages: list[str]) -> None:
    """Installs the packages with every installed one held at its version."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        for found in distributions():
            name = found.metadata["Name"]
            if name and found.version:
                file.write(f"{name}=={found.version}\n")
    command = [sys.executable, "-m", "pip", "install", "--prefer-binary", "--constraint", file.name, *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        os.unlink(file.name)
    if done.returncode:
        sys.stderr.write(
            f"Attention Heatmap: could not install {', '.join(packages)} without changing other packages. "
            f"Install by hand: {sys.executable} -m pip install {' '.join(packages)}\n{done.stderr.strip()[-2000:]}\n"
        )


def main() -> None:
    packages = missing_packages()
    if packages and "--skip-install" not in os.environ.get("COMMANDLINE_ARGS", "").split() + sys.argv:
        install(packages)


main()
