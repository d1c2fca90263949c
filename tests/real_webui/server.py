"""Starts a real WebUI with the tiny checkpoints and this repository as its extension, and talks to its API."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

from tests.real_webui.webuis import A1111, SETTINGS, Webui

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
START_SECONDS = 600
GENERATING = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img")


class ApiError(Exception):
    """The WebUI answered with an error."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


def webui_python(webui: Path) -> str:
    """The Python of the WebUI's own environment: WEBUI_PYTHON, or a venv in or beside its folder."""
    candidates = [webui / "venv" / "bin" / "python", webui.parent / "venv" / "bin" / "python"]
    return os.environ.get("WEBUI_PYTHON") or str(next(path for path in candidates if path.exists()))


def environment() -> dict[str, str]:
    """One thread, because the number of threads changes the bits of a picture; and no network."""
    return {
        **os.environ, "PYTHONPATH": str(HERE / "site"), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False", "COMMANDLINE_ARGS": "",
    }  # fmt: skip


def version_mark(webui: Path) -> dict[str, str]:
    """Forge Neo asks at the terminal whether to go on where its settings file does not name its version."""
    file = webui / "modules" / "launch_utils.py"
    found = re.search(r'VERSION_UID\b[^=\n]*= "(.+)"', file.read_text("utf-8")) if file.exists() else None
    return {"VERSION_UID": found[1]} if found else {}


def make_checkpoints(webui: Path, folder: Path, kind: Webui = A1111) -> None:
    """Into the data folder of a WebUI of that kind."""
    if kind.has_pipelines:
        from tests.real_webui.sdnext_checkpoints import make_sdnext_checkpoints

        make_sdnext_checkpoints(folder, set(kind.checkpoints) - {"embedded", "sd1"})
        return
    if kind.is_forge:
        from tests.real_webui.forge_checkpoints import make_forge_checkpoints

        make_forge_checkpoints(folder, kind.checkpoints, is_small=kind.has_small_encoders)
        return
    done = subprocess.run(
        [webui_python(webui), "-W", "ignore", str(HERE / "make_checkpoints.py"), str(webui), str(folder)],
        check=False, env=environment(), cwd=folder, capture_output=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()[-3000:]
        raise RuntimeError(f"the checkpoints could not be made, exit code {done.returncode}:\n{reason}")


class Server:
    """A running WebUI. Use it as a context."""

    def __init__(
        self,
        webui: Path,
        data: Path,
        *flags: str,
        kind: Webui = A1111,
        extensions: dict[str, Path] | None = None,
        settings: dict[str, Any] | None = None,
    ):
        """
        Args:
            data: folder with the checkpoints; outputs, settings and the log go there too.
            extensions: folders by name; the default is this repository and the tests' own extension.
            settings: of the WebUI, instead of those of its kind.
        """
        self.data = data
        self.kind = kind
        self._webui = webui
        self._flags = flags
        self._extensions = extensions or {"attention-heatmap": REPOSITORY, "bench": HERE / "bench_extension"}
        self._settings = settings or {**SETTINGS, **kind.settings}
        self.url = ""
        self.log = data / "webui.log"

    def beside(self, data: Path, *flags: str) -> Server:
        """Another one like this, with the same checkpoints and further flags."""
        data.mkdir()
        (data / "models").symlink_to(self.data / "models")
        return Server(self._webui, data, *self._flags, *flags, kind=self.kind)

    def __enter__(self) -> Server:
        folder = self.data / "extensions"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, target in self._extensions.items():
            (folder / name).symlink_to(target)
        settings = {**self._settings, **version_mark(self._webui)}
        (self.data / "config.json").write_text(json.dumps(settings), "utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [webui_python(self._webui), "launch.py", *self.kind.common, *self.kind.flags, *self._flags]
        command += ["--data-dir", str(self.data), "--port", str(port)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self._webui, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait(self) -> None:
        """Until the page is up and a model is loaded."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            if self.kind.ready in self.log.read_text("utf-8", "replace") and self._is_up():
                return
            time.sleep(1)
        raise RuntimeError(f"the WebUI did not start:\n{self.log.read_text('utf-8', 'replace')[-3000:]}")

    def reset_peak_memory(self) -> None:
        """Begins a new peak; Linux only."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        """Most resident bytes since the reset; Linux only."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

    def _is_up(self) -> bool:
        """It answers, if only that a password is missing; extensions' routes are the last to be there."""
        try:
            self.get("/attention-heatmap/v1/arguments")
        except ApiError as error:
            return error.status == 401
        except (OSError, ValueError):
            return False
        return True

    def needs(self, what: str) -> None:
        """Skips the test where the WebUI has it not."""
        if what in self.kind.lacks:
            raise unittest.SkipTest(f"{self.kind.name}: {self.kind.lacks[what]}")

    def get(self, path: str, **query: str) -> Any:
        return self._ask(urllib.request.Request(f"{self.url}{path}?{urllib.parse.urlencode(query)}"))

    def post(self, path: str, payload: Any = None, **query: str) -> Any:
        if path in GENERATING and payload:
            payload = {**self.kind.payload, **payload}
            if payload.get("hr_upscaler") == "Latent":
                payload["hr_upscaler"] = self.kind.latent_upscaler
        data = json.dumps({} if payload is None else payload).encode()
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        return self._ask(urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST"))

    @staticmethod
    def _ask(request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode("utf-8", "replace")) from None


def pictures(answer: dict[str, Any]) -> list[Image.Image]:
    return [to_image(text) for text in answer["images"]]


def to_image(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


def to_text(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
