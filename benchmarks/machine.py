"""Says which machine a measurement ran on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine(device: str = "cpu") -> str:
    """One line: processor or GPU, threads, versions."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name()
    else:
        name = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
