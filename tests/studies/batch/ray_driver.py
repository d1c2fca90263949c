"""The driver of a batch on Ray, as a process of its own: tests kill it, its workers and its machines.

    python -m tests.studies.batch.ray_driver FOLDER PROMPT... [--two-nodes]

Prints how it ended, as JSON. With --two-nodes it makes a cluster of two machines and takes one away on the way.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daam.studies.batch.cluster import Cluster, Workers
from daam.studies.batch.folder import BatchFolder
from daam.studies.batch.items import Outcome
from daam.studies.batch.plan import Plan
from daam.studies.batch.running import missing_items, run_batch
from tests.studies.batch.fakes import Fake, items

ROOM = 100 * 2**20
"""Bytes of a machine's object store: rows carry no picture."""


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--two-nodes"]
    path, prompts = Path(arguments[0]), arguments[1:]
    log = path / "log"
    log.mkdir(parents=True, exist_ok=True)
    folder, planned = BatchFolder(path / "out"), items(*prompts)
    folder.begin(Plan(planned, {}, {}), {}, "now")
    nodes, address = _two_nodes() if "--two-nodes" in sys.argv else (None, None)
    seen: list[str] = []

    def on_outcome(outcome: Outcome) -> None:
        seen.append(outcome.id)
        if nodes is not None and len(seen) == 3:
            cluster, second = nodes
            cluster.remove_node(second, allow_graceful=False)

    cluster = Cluster(folder, Fake(log, 0.2), Workers(2, address=address, patience=3.0))
    missing = missing_items(folder, planned, retry_failed=False)
    ending = run_batch(folder, planned, missing, cluster, on_outcome=on_outcome)
    sys.stdout.write(json.dumps({**asdict(ending), "seen": seen}) + "\n")


def _two_nodes() -> tuple[Any, str]:
    from ray.cluster_utils import Cluster as Machines

    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": ROOM})
    second = machines.add_node(num_cpus=1, object_store_memory=ROOM)
    machines.wait_for_nodes()
    return (machines, second), str(machines.address)


if __name__ == "__main__":
    main()
