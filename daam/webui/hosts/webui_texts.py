"""What AUTOMATIC1111's WebUI and its forks have in common when they read a prompt: who reads it, by which settings."""

from __future__ import annotations

from pathlib import Path

from modules import prompt_parser, shared

from daam.errors import TraceError
from daam.prompt import Emphasis, PromptTable

READING = (
    "get_learned_conditioning", "get_learned_conditioning_prompt_schedules", "get_multicond_prompt_list",
    "get_multicond_learned_conditioning",
)  # fmt: skip
"""Functions of the WebUI through which a prompt is split, scheduled and encoded."""


class WebuiTexts:
    """Part of `protocol.Texts`."""

    def own_table(self, prompt: str) -> PromptTable | None:
        return None

    def prompt_readers(self) -> list[str]:
        """Extensions that read prompts in the WebUI's place, by their folders' names."""
        functions = [getattr(prompt_parser, name, None) for name in READING]
        codes = [getattr(getattr(function, "func", function), "__code__", None) for function in functions]
        files = [Path(code.co_filename) for code in codes if code is not None]
        return sorted({_extension(file) for file in files if file != Path(prompt_parser.__file__)})

    def emphasis_mode(self) -> Emphasis:
        """The emphasis setting under its name of 1.8 and later."""
        if getattr(shared.opts, "use_old_emphasis_implementation", False):
            raise TraceError(
                "the setting 'Use old emphasis implementation' places tokens by other rules, which are not known here; "
                "switch it off (Settings, Compatibility)"
            )
        mode = getattr(shared.opts, "emphasis", None)  # since 1.8
        if mode is not None:
            return mode  # type: ignore[no-any-return]
        return "Original" if getattr(shared.opts, "enable_emphasis", True) else "None"

    def uses_old_scheduling(self) -> bool:
        return bool(getattr(shared.opts, "use_old_scheduling", False))


def _extension(file: Path) -> str:
    """Name of the folder under `extensions` that a file lies in; the file's own where it lies elsewhere."""
    parts = file.parts
    return parts[parts.index("extensions") + 1] if "extensions" in parts[:-1] else file.name
