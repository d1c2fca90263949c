"""A new WebUI is one file and one entry of `HOSTS`: shown with a throw-away one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daam.errors import SettingError
from daam.webui import hosts
from daam.webui.hosts import HOSTS, host


class ToyHost:
    """Stands for a host's class."""


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    host.cache_clear()
    yield
    host.cache_clear()


def test_a_throw_away_host_is_found_by_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"no_such_webui.part": ("no.such.module", "Nobody"), "json.decoder": (__name__, "ToyHost")}
    monkeypatch.setattr(hosts, "HOSTS", {**HOSTS, **own})
    assert isinstance(host(), ToyHost)
    assert host() is host()


def test_outside_of_a_webui_that_is_said() -> None:
    with pytest.raises(SettingError, match=r"expected a WebUI with one of modules.*, backend.*, modules\.sd_hijack; "):
        host()
