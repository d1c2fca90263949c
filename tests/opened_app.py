"""The page of `daam ui`, opened in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def opened_app(browser: Any) -> Iterator[Any]:
    """The page, ready to be clicked; skips the test where gradio is not installed."""
    pytest.importorskip("gradio", reason="gradio (the extra app) is not installed")
    from daam.app.page import make_app

    app = make_app()
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False)
    page = browser.new_page(viewport={"width": 1300, "height": 1100})
    page.goto(app.local_url)
    page.wait_for_selector("#generate")
    page.wait_for_timeout(1000)
    yield page
    page.close()
    app.close()
