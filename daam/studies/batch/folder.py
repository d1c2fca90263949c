"""A batch's folder: what is done and what failed, and how an item is written so that it is whole or not there.

    DIR/manifest.json
    DIR/items/<id>/{output.png, prompt.txt, seed.txt, annotations.json, record.safetensors}
    DIR/errors.jsonl          an item that failed on each line
    DIR/index.parquet         every item; made at the end
    DIR/started/<id>          while an item is being made: how often it was begun

A record is moved into place last, so that its presence means that the item is done. `output.png`, `prompt.txt` and
`seed.txt` lie as the DAAM authors' evaluation expects them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from daam.errors import SettingError
from daam.extras import need
from daam.results.record import save_record
from daam.results.result import Result
from daam.results.whole_files import whole_file
from daam.studies.batch.items import Item, Outcome
from daam.studies.batch.plan import MANIFEST, Plan, differences, read_manifest

RECORD = "record.safetensors"
PICTURE = "output.png"
PROMPT, SEED, ANNOTATIONS = "prompt.txt", "seed.txt", "annotations.json"
ERRORS, INDEX = "errors.jsonl", "index.parquet"


class BatchFolder:
    """The folder of one batch, which may be on a file system that several machines share.

    Attributes:
        path: the folder itself.
        items: where the items lie.
    """

    def __init__(self, path: Path):
        self.path = path
        self.items = path / "items"
        self._started = path / "started"

    def begin(self, plan: Plan, versions: Mapping[str, str], created: str) -> list[str]:
        """Makes the folder for a plan, or sees that it is the plan's.

        Returns:
            What to say of it: that the packages have other versions than when it was begun.

        Raises:
            SettingError: it cannot be written to, has other files in it, or belongs to another plan.
        """
        wanted = plan.to_manifest(versions, created)
        there = read_manifest(self.path)
        try:
            if there is None:
                if self.path.is_dir() and any(self.path.iterdir()):
                    raise SettingError(f"out: expected a new folder or one of a batch, {self.path} has other files")
                self.items.mkdir(parents=True, exist_ok=True)
                self._started.mkdir(exist_ok=True)
                _write(self.path / MANIFEST, json.dumps(wanted, indent=1) + "\n")
                return []
            self.items.mkdir(exist_ok=True)
            self._started.mkdir(exist_ok=True)
        except OSError as error:
            raise SettingError(
                f"out: expected a folder that can be written to, got {self.path}: {error.strerror}"
            ) from error
        if there["plan"] != wanted["plan"] and not any(self.items.iterdir()) and not (self.path / ERRORS).exists():
            _write(self.path / MANIFEST, json.dumps(wanted, indent=1) + "\n")  # nothing was made of the other plan
            return []
        if there["plan"] != wanted["plan"]:
            raise SettingError(
                f"{self.path} was made for another plan ({'; '.join(differences(there, wanted))}); "
                "choose another folder, or call it as then"
            )
        return [
            f"{name} was {there['versions'][name]} when this batch was begun and is {version} now"
            for name, version in versions.items()
            if name in there["versions"] and there["versions"][name] != version
        ]

    def place(self, item_id: str) -> Path:
        return self.items / item_id

    def is_done(self, item_id: str) -> bool:
        return (self.items / item_id / RECORD).exists()

    def done(self) -> set[str]:
        """The ids of all items that are done: one look at each folder that is there."""
        try:
            with os.scandir(self.items) as entries:
                return {entry.name for entry in entries if os.path.exists(f"{entry.path}/{RECORD}")}
        except FileNotFoundError:
            return set()

    def write(self, item: Item, result: Result) -> None:
        """Writes an item, its record last.

        Raises:
            RecordError, OSError: it cannot be written; then it is not done.
        """
        place = self.place(item.id)
        place.mkdir(parents=True, exist_ok=True)
        _save_picture(place / PICTURE, result.pictures[0])
        _write(place / PROMPT, item.prompt + "\n")
        _write(place / SEED, f"{item.seed}\n")
        known = {**item.data, **({"negative": item.negative} if item.negative else {})}
        if known:
            _write(place / ANNOTATIONS, json.dumps(known, indent=1) + "\n")
        save_record(place / RECORD, result)

    def start(self, item_id: str) -> int:
        """Notes that an item is begun; returns how often it was begun before, and neither finished nor given up."""
        path = self._started / item_id
        try:
            before = len(path.read_bytes())
        except FileNotFoundError:
            before = 0
        with path.open("ab") as file:
            file.write(b"x")
        return before

    def end(self, item_id: str) -> None:
        """The item is done, failed, or was given up in order."""
        with contextlib.suppress(FileNotFoundError):
            (self._started / item_id).unlink()

    def end_all(self) -> None:
        for path in self._started.iterdir():
            self.end(path.name)

    def failed(self) -> dict[str, Outcome]:
        """What `errors.jsonl` says of each item; the last line of an item counts, one that was cut off does not."""
        found: dict[str, Outcome] = {}
        with contextlib.suppress(FileNotFoundError), (self.path / ERRORS).open(encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    data = json.loads(line)
                    found[data["id"]] = Outcome(data["id"], "failed", data["seconds"], data["error"], data["kind"])
        return found

    def add_error(self, outcome: Outcome) -> None:
        with (self.path / ERRORS).open("a", encoding="utf-8") as file:
            file.write(_error_line(outcome))

    def forget_errors(self, ids: Iterable[str]) -> None:
        """Takes items out of `errors.jsonl`, so that they are tried again."""
        gone = set(ids)
        kept = [outcome for name, outcome in self.failed().items() if name not in gone]
        _write(self.path / ERRORS, "".join(map(_error_line, kept)))
        for name in gone:
            self.end(name)

    def write_index(self, items: Sequence[Item], seconds: Mapping[str, float]) -> dict[str, int]:
        """Writes `index.parquet`: each item of the plan with its status and place.

        Args:
            seconds: of the items that were made just now; those of earlier calls are taken from the last index.

        Returns:
            How many items are "done", "failed" and "missing".

        Raises:
            SettingError: pyarrow is not installed.
        """
        pyarrow, parquet = need("pyarrow", "daam batch"), need("pyarrow.parquet", "daam batch")
        path, done, failed = self.path / INDEX, self.done(), self.failed()
        known: dict[str, float | None] = {}
        if path.exists():
            before = parquet.read_table(path, columns=["id", "seconds"]).to_pydict()
            known = dict(zip(before["id"], before["seconds"]))
        status = ["done" if item.id in done else "failed" if item.id in failed else "missing" for item in items]
        columns: dict[str, list[Any]] = {
            "id": [item.id for item in items],
            "prompt": [item.prompt for item in items],
            "negative": [item.negative for item in items],
            "seed": [item.seed for item in items],
            "status": status,
            "error": [failed[item.id].error if item.id in failed and item.id not in done else None for item in items],
            "seconds": [seconds.get(item.id, known.get(item.id)) for item in items],
            "folder": [f"items/{item.id}" for item in items],
            "data": [json.dumps(dict(item.data)) for item in items],
        }
        types = {"seed": pyarrow.int64(), "seconds": pyarrow.float64()}
        table = pyarrow.table(
            {name: pyarrow.array(values, types.get(name, pyarrow.string())) for name, values in columns.items()}
        )
        with whole_file(path) as draft:
            parquet.write_table(table, draft)
        return {name: status.count(name) for name in ("done", "failed", "missing")}


def _write(path: Path, text: str) -> None:
    with whole_file(path) as draft:
        draft.write_text(text, "utf-8")


def _save_picture(path: Path, picture: Image.Image) -> None:
    with whole_file(path) as draft:
        picture.save(draft, "PNG")


def _error_line(outcome: Outcome) -> str:
    line = {"id": outcome.id, "error": outcome.error, "kind": outcome.kind, "seconds": round(outcome.seconds, 3)}
    return json.dumps(line) + "\n"
