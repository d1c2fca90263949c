"""What a batch folder was made for: its manifest, and what of another plan differs. Knows no model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daam.errors import SettingError
from daam.studies.batch.items import Item

MANIFEST = "manifest.json"
FORMAT = "daam batch"
VERSION = 1


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a batch's records hold, but for the versions of the packages.

    Attributes:
        settings: of the generation: model, steps and so on, as JSON has them.
        source: where the items came from, in the words of the command line; for the reader alone.
    """

    items: Sequence[Item]
    settings: Mapping[str, Any]
    source: Mapping[str, Any]

    @property
    def items_hash(self) -> str:
        """SHA-256 of ids, prompts, seeds, negative prompts and data, in their order."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(item.to_json().encode() + b"\n")
        return found.hexdigest()

    def to_manifest(self, versions: Mapping[str, str], created: str) -> dict[str, Any]:
        """What stands in `manifest.json`; `plan` is the hash of items and settings."""
        items = self.items_hash
        return {
            "format": FORMAT,
            "version": VERSION,
            "plan": plan_hash(items, self.settings),
            "items": len(self.items),
            "items_hash": items,
            "settings": dict(self.settings),
            "source": dict(self.source),
            "versions": dict(versions),
            "created": created,
        }


def plan_hash(items_hash: str, settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{items_hash} {json.dumps(settings, sort_keys=True)}".encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a batch folder; None where there is none.

    Raises:
        SettingError: it is damaged, another program's, or of another version.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise SettingError(f"expected version {VERSION} of a {FORMAT}, {path} is something else; choose another folder")
    return data


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests' plans, a sentence for each: "steps: 20 there, 30 now"."""
    found = []
    for name in sorted({*there["settings"], *wanted["settings"]}):
        before, now = there["settings"].get(name), wanted["settings"].get(name)
        if before != now:
            found.append(f"{name.replace('_', ' ')}: {before} there, {now} now")
    if there["items_hash"] != wanted["items_hash"]:
        if there["items"] != wanted["items"]:
            found.append(f"items: {there['items']} there, {wanted['items']} now")
        for name in sorted({*there["source"], *wanted["source"]}):
            before, now = there["source"].get(name), wanted["source"].get(name)
            if before != now:
                found.append(f"{name.replace('_', ' ')}: {before} there, {now} now")
        if not found:
            found.append(f"the items of {', '.join(map(str, wanted['source'].values()))}: they have changed since")
    return found
