"""Times a 1024x1024 overlay of a 64x64 heat map and says whether it is under 30 ms. Not a test: machines differ."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from daam.pictures.overlay import overlay

AIM_MILLISECONDS = 30.0


def main() -> int:
    options = read_options()
    if options.threads is not None:
        cv2.setNumThreads(options.threads)
    generator = np.random.default_rng(0)
    picture = Image.fromarray(generator.integers(0, 256, (options.size, options.size, 3), np.uint8))
    heat_map = generator.random((options.map_size, options.map_size), np.float32)
    overlay(picture, heat_map)  # fills the colormap's table and OpenCV's pool
    times = sorted(milliseconds(picture, heat_map) for _ in range(options.repeats))
    median = statistics.median(times)
    print(f"CPU: {cpu_name()}; OpenCV {cv2.__version__} on {cv2.getNumThreads()} of {cv2.getNumberOfCPUs()} CPUs")
    print(f"overlay {options.size}x{options.size} from {options.map_size}x{options.map_size}, {len(times)} times:")
    print(f"median {median:.1f} ms, fastest {times[0]:.1f} ms, slowest {times[-1]:.1f} ms")
    passed = median < AIM_MILLISECONDS
    print(f"{'pass' if passed else 'FAIL'}: the aim is a median under {AIM_MILLISECONDS:.0f} ms")
    return 0 if passed else 1


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="side of the picture in pixels")
    parser.add_argument("--map-size", type=int, default=64, help="side of the heat map")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=None, help="threads for OpenCV; its own choice by default")
    return parser.parse_args()


def milliseconds(picture: Image.Image, heat_map: np.ndarray) -> float:
    start = time.perf_counter()
    overlay(picture, heat_map)
    return (time.perf_counter() - start) * 1000


def cpu_name() -> str:
    """From Linux's list of CPUs, else what Python knows."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
