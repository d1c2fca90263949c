"""A model of a family that is not known: one sentence under the picture, and nothing is asked of the host for it."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from daam.errors import TraceError
from daam.webui import watching
from daam.webui.hosts import DenoiserCall, Host
from daam.webui.watching import Wanted, Watch


class Unheard(torch.nn.Module):
    """Stands for a network that nobody has told us of."""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    made = MagicMock(spec=Host)
    made.has_hires_pass.return_value = made.in_hires_pass.return_value = made.is_interrupted.return_value = False
    made.text_model.return_value = None
    made.current_unet.return_value = Unheard()
    monkeypatch.setattr(watching, "host", lambda: made)
    return made


def test_it_is_named_and_the_prompt_is_not_even_read(host: MagicMock) -> None:
    p = SimpleNamespace()
    host.read_denoiser_call.return_value = DenoiserCall(p, 0, 8, 8, MagicMock(), MagicMock())
    watch = Watch(p, Wanted(), None)
    with watch.installed():
        for _ in range(3):
            watch.see_denoiser_call(SimpleNamespace())
    with pytest.raises(TraceError, match="the trace stopped: expected a model with .*; Unheard has none that is known"):
        watch.image_trace(0)
    assert host.read_denoiser_call.call_count == 1, "after the first call nothing is done"
    assert not host.encoded_prompts.called
    assert not [hook for module in host.current_unet().modules() for hook in module._forward_pre_hooks]
