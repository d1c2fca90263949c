"""How often the viewer's observations are right, on the embedded model, where it is known what is in the picture.

    python -m benchmarks.observations

For each kind: how often it names the noun of a requested object that is missing, and that of one that is there. A kind
that tells something names the missing ones far more often.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from benchmarks.captions import make_captions
from benchmarks.machine import machine
from benchmarks.segmentation import Sample, generate_samples, is_present
from daam.heat_maps import HeatMaps
from daam.observations import OBSERVATIONS, observe


def count(samples: Iterable[Sample]) -> tuple[Counter[tuple[str, bool]], Counter[bool]]:
    """(kind, is the object there) to how often its noun was named; and how many objects were there or not."""
    named: Counter[tuple[str, bool]] = Counter()
    objects: Counter[bool] = Counter()
    for sample in samples:
        said = observe(HeatMaps(sample.trace))
        for mask, (_, noun) in zip(sample.masks, sample.caption.objects):
            there = is_present(mask)
            objects[there] += 1
            for kind in {each["kind"] for each in said if noun in each["terms"]}:
                named[kind, there] += 1
    return named, objects


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    named, objects = count(generate_samples(make_captions(options.captions), options.steps, keep_steps=False))
    print(f"{objects[False]} objects missing, {objects[True]} there; {options.steps} steps; {machine()}\n")
    print(f"{'named as':20} {'missing':>8} {'there':>8}")
    for kind in OBSERVATIONS:
        missing, there = (named[kind, is_there] / max(objects[is_there], 1) for is_there in (False, True))
        print(f"{kind:20} {missing:8.1%} {there:8.1%}")


if __name__ == "__main__":
    main()
