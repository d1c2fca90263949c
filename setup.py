"""Puts the viewer's scripts and styles, which the WebUI wants at the top of the repository, into the package too."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithAssets(build_py):
    """Copies them to daam/results/viewer/assets of what is built."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / "daam" / "results" / "viewer" / "assets"
        (target / "javascript").mkdir(parents=True, exist_ok=True)
        shutil.copy("style.css", target)
        for script in Path("javascript").glob("*.js"):
            shutil.copy(script, target / "javascript")


setup(cmdclass={"build_py": BuildWithAssets})
