"""Says which machine a measurement ran on, and writes the rows of its table."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine(device: str = "cpu") -> str:
    """One line: processor or GPU, threads, versions."""
    if device.startswith("cuda"):
        name, version = torch.cuda.get_device_name(), f", CUDA {torch.version.cuda}"
    else:
        name, version = f"{_processor()}, {torch.get_num_threads()} threads", ""
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}{version}"


def row(*cells: object) -> str:
    """A row of a table, as Markdown has it and README takes it."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*names: str) -> str:
    """The rows above a table's first one."""
    return f"{row(*names)}\n|{'---|' * len(names)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
