"""Stand-ins for a model: what generates an item at once, and what its prompt makes go wrong."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from daam.results.record import load_record
from daam.results.result import Notes, Result
from daam.studies.batch.items import Item
from daam.studies.batch.work import Generate

RECORD = Path(__file__).parents[2] / "data" / "record-version-2.safetensors"


@dataclass(frozen=True)
class Fake:
    """Loads a "model" whose picture is that of a recorded generation; notes who began what in `log`.

    A prompt with "raise" raises, with "kill" ends the process that reads it, with "slow" takes its time.
    """

    log: Path
    seconds: float = 0.0

    def __call__(self) -> Generate:
        recorded = load_record(RECORD)

        def generate(item: Item) -> Result:
            with (self.log / item.id).open("a") as file:
                file.write(f"{os.getpid()}\n")
            if "raise" in item.prompt:
                raise RuntimeError("out of memory\nand more lines")
            if "kill" in item.prompt:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1.0 if "slow" in item.prompt else self.seconds)
            return replace(recorded, notes=Notes(item.prompt, item.seed))

        return generate


def items(*prompts: str) -> list[Item]:
    return [Item(f"{number:03}", prompt, number) for number, prompt in enumerate(prompts)]
