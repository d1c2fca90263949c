"""The page of AUTOMATIC1111's WebUI, its settings, its scripts, and generations that a script runs itself."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from modules import processing, scripts, shared
from modules.ui_components import InputAccordion
from PIL import Image


class _NotInInfotext(list[str]):
    """Lines for the JSON of a result. An infotext since 1.10 takes of a list the picture's own item: here none."""

    def __getitem__(self, index: Any) -> Any:
        return None


class A1111Page:
    """See `protocol.Page`."""

    def option(self, name: str, default: Any) -> Any:
        """One of our own settings of the WebUI's settings page."""
        value = getattr(shared.opts, name, default)
        return default if value is None else value

    def selected_script(self, p: Any) -> str | None:
        """Title of the script chosen in the Script dropdown; None when there is none."""
        number = p.script_args[0] if p.scripts is not None and p.script_args else 0
        if not isinstance(number, int) or number < 1:
            return None
        title: str = p.scripts.selectable_scripts[number - 1].title()
        return title

    def values_of_script(self, p: Any, title: str) -> Sequence[Any]:
        """What the controls of an always-visible script say; empty where there is none of that title."""
        for script in p.scripts.alwayson_scripts if p.scripts is not None else ():
            if script.title() == title and p.script_args:
                return tuple(p.script_args[script.args_from : script.args_to])
        return ()

    def add_option(
        self,
        name: str,
        default: Any,
        label: str,
        section: tuple[str, str],
        component: Any = None,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        info = shared.OptionInfo(default, label, component, dict(limits) if limits else None, section=section)
        shared.opts.add_option(name, info)

    always_visible = scripts.AlwaysVisible

    def panel(self, value: bool, label: str, elem_id: str) -> Any:
        """A box with a switch in its head: a context for the components in it, and itself the switch's component."""
        return InputAccordion(value, label=label, elem_id=elem_id)

    def axes_module(self) -> Any | None:
        """The module of X/Y/Z plot, with `axis_options` and `AxisOption`; None where the WebUI has none."""
        for data in scripts.scripts_data:
            module = data.module if not isinstance(data.module, str) else sys.modules.get(data.module)
            if hasattr(module, "axis_options") and hasattr(module, "AxisOption"):
                return module
        return None

    def api_users(self) -> str:
        """ "name:password" of those who may use the API, comma-separated; empty where everybody may."""
        return str(getattr(shared.cmd_opts, "api_auth", None) or "")

    def hand_on(self, p: Any, key: str, lines: Sequence[str]) -> None:
        """Puts lines into what a script makes of `p` itself, for callers of the API; none: takes them out.

        Nothing before 1.10, where they would become part of infotexts.
        """
        others = {name: value for name, value in p.extra_generation_params.items() if name != key}
        if lines and "isinstance(value, list)" in inspect.getsource(processing.create_infotext):
            others[key] = _NotInInfotext(lines)
        p.extra_generation_params = others

    def begin_series(self, p: Any, generations: int) -> None:
        """Before a script generates several times with `p`: one seed for all, one picture each, one progress bar."""
        processing.fix_seed(p)
        p.batch_size = p.n_iter = 1
        shared.state.job_count = generations

    def tell_job(self, text: str) -> None:
        """Says under the progress bar what is generated now."""
        shared.state.job = shared.state.textinfo = text

    def is_interrupted(self) -> bool:
        return bool(shared.state.interrupted)

    def generate(self, p: Any) -> Any:
        """Runs `p`; what the WebUI calls `Processed`."""
        return processing.process_images(p)

    def result_of_series(self, p: Any, images: Sequence[Image.Image], infotexts: Sequence[str], grids: int = 0) -> Any:
        """What a script returns: images, of which the first are grids, each with its infotext."""
        first = infotexts[0] if infotexts else ""
        return processing.Processed(
            p, list(images), p.seed, first, infotexts=list(infotexts), index_of_first_image=grids
        )
