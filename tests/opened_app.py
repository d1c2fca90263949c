"""The page of `daam ui`, opened in a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

QUIET = 4.0
"""Seconds without a question of the page to the server, after which what it loads by itself is through."""


@contextmanager
def opened_app(browser: Any) -> Iterator[Any]:
    """The page, ready to be clicked; skips the test where gradio is not installed."""
    pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    from daam.app.page import make_app

    app = make_app()
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False)
    page = browser.new_page(viewport={"width": 1300, "height": 1100})
    asked: list[float] = []
    for event in ("request", "websocket"):
        page.on(event, lambda _: asked.append(time.monotonic()))
    page.goto(app.local_url)
    page.wait_for_selector("#generate")
    started = time.monotonic()
    while time.monotonic() - max([started, *asked]) < QUIET and time.monotonic() - started < 60:
        page.wait_for_timeout(200)
    yield page
    page.close()
    app.close()


def press_generate(page: Any) -> None:
    """Clicks until the page asks the server for something: gradio shows its buttons before they do anything, on a busy
    machine for seconds."""
    asked: list[str] = []

    def see(request: Any) -> None:
        asked.extend(part for part in ("/queue/", "/run/") if part in request.url)

    page.on("request", see)
    page.on("websocket", see)  # of gradio 3
    for _ in range(20):
        page.click("#generate")
        for _ in range(25):
            page.wait_for_timeout(200)
            if asked:
                return
    raise AssertionError("the page asked nothing of the server, though Generate was pressed twenty times")
