"""True masks from annotations in COCO's format, read by pycocotools: of generated pictures, as annotation tools export.

Captions and masks of COCO's own photographs are no truth of pictures that were generated from the captions.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from daam.errors import SettingError
from daam.extras import need
from daam.studies.batch.folder import PICTURE
from daam.studies.evaluation.masks import Mask


class CocoTruth:
    """The masks of a file of annotations, by the id of the item and the name of the category."""

    def __init__(self, path: Path):
        """
        Raises:
            SettingError: it is no such file, or pycocotools is not installed.
        """
        tools = need("pycocotools.coco", "daam evaluate --annotations")
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints
                self._coco: Any = tools.COCO(str(path))
            self._categories = {row["id"]: str(row["name"]).lower() for row in self._coco.dataset["categories"]}
            self._images = {
                name: image["id"] for image in self._coco.dataset["images"] for name in reversed(_names(image))
            }
        except (OSError, ValueError, KeyError, TypeError, AssertionError, IndexError) as error:
            raise SettingError(f"{path}: expected annotations in COCO's format: {error!r}") from error

    def masks(self, item_id: str) -> dict[str, Mask]:
        """The union of the instances of each category in a picture; empty where it is not annotated."""
        image = self._images.get(item_id)
        found: dict[str, Mask] = {}
        if image is None:
            return found
        for row in self._coco.loadAnns(self._coco.getAnnIds(imgIds=[image])):
            word, mask = self._categories[row["category_id"]], np.asarray(self._coco.annToMask(row)) > 0
            found[word] = found[word] | mask if word in found else mask
        return found


def _names(image: dict[str, Any]) -> list[str]:
    """What item a picture may belong to, the surest first: `<id>/output.png`, `<id>.png`, the picture's own id."""
    path = PurePosixPath(str(image["file_name"]))
    own = path.parent.name if path.name == PICTURE else path.stem
    return [own, str(image["id"])]
