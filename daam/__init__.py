"""Heat maps of the parts of a generated picture that each word of its prompt attended to.

Names are imported when they are first used, so that what needs no model starts without one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from daam.version import __version__

if TYPE_CHECKING:
    from daam.hosts.diffusers_generate import GenerationSettings, generate
    from daam.hosts.diffusers_models import load_pipeline
    from daam.hosts.diffusers_trace import Tracer, trace
    from daam.maps.heat_maps import HeatMap, HeatMaps
    from daam.maps.statistics import rank_words, term_statistics
    from daam.prompt import parse_prompt
    from daam.results.record import load_record, save_record
    from daam.results.result import Notes, Result
    from daam.studies.language.relations import dependency_relations, parsed_heat_maps

_HOMES = {
    "GenerationSettings": "daam.hosts.diffusers_generate",
    "HeatMap": "daam.maps.heat_maps",
    "HeatMaps": "daam.maps.heat_maps",
    "Notes": "daam.results.result",
    "Result": "daam.results.result",
    "Tracer": "daam.hosts.diffusers_trace",
    "dependency_relations": "daam.studies.language.relations",
    "generate": "daam.hosts.diffusers_generate",
    "load_pipeline": "daam.hosts.diffusers_models",
    "load_record": "daam.results.record",
    "parse_prompt": "daam.prompt",
    "parsed_heat_maps": "daam.studies.language.relations",
    "rank_words": "daam.maps.statistics",
    "save_record": "daam.results.record",
    "term_statistics": "daam.maps.statistics",
    "trace": "daam.hosts.diffusers_trace",
}
__all__ = [
    "GenerationSettings",
    "HeatMap",
    "HeatMaps",
    "Notes",
    "Result",
    "Tracer",
    "__version__",
    "dependency_relations",
    "generate",
    "load_pipeline",
    "load_record",
    "parse_prompt",
    "parsed_heat_maps",
    "rank_words",
    "save_record",
    "term_statistics",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'daam' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
