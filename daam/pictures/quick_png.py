"""Pictures that are written as PNG quickly. Knows nothing of what they show."""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any

import cv2
import numpy as np
from PIL import Image

RUN_LENGTH = 3
"""zlib's strategy Z_RLE: with the lowest level the fastest that still compresses plain areas well."""
_HEADER = 8 + 25
"""Bytes of a PNG's signature and of its first chunk, IHDR."""


class QuickPng(Image.Image):
    """A picture that is the same pixel for pixel, but is saved as PNG in a sixth of the time, a sixth larger.

    A host saves one picture twice, as a file and for its answer: what was encoded is kept, for as long as no pixel
    changes. Whoever saves it (a host, gradio) may still say otherwise; other formats are as ever.
    """

    @classmethod
    def of(cls, picture: Image.Image) -> QuickPng:
        """Shares the pixels with `picture`."""
        quick = cls()
        quick.__dict__.update(picture.__dict__)
        return quick

    def save(self, fp: Any, format: str | None = None, **parameters: Any) -> None:
        if not self._is_plain(fp, format, parameters):
            return super().save(fp, format, **{"compress_level": 1, "compress_type": RUN_LENGTH, **parameters})
        encoded = self._encoded()
        parts = encoded[:_HEADER], _text_chunks(parameters.get("pnginfo")), encoded[_HEADER:]
        if isinstance(fp, (str, os.PathLike)):
            with open(fp, "wb") as file:
                file.writelines(parts)
        else:
            fp.write(b"".join(parts))
            if hasattr(fp, "flush"):
                fp.flush()

    def _is_plain(self, fp: Any, format: str | None, parameters: dict[str, Any]) -> bool:
        """Whether it is to be a PNG of which nothing is said but its texts; a quality means nothing there."""
        name = fp if isinstance(fp, (str, os.PathLike)) else getattr(fp, "name", "")
        kind = format or os.path.splitext(os.fspath(name) if isinstance(name, (str, os.PathLike)) else "")[1][1:]
        is_png = str(kind).upper() == "PNG" and self.mode == "RGB" and min(self.size) > 0
        chunks = getattr(parameters.get("pnginfo"), "chunks", ())
        is_before = not any(chunk[2:3] == (True,) for chunk in chunks)  # texts may be asked to stand behind the pixels
        is_said = parameters.keys() <= {"pnginfo", "quality"}
        return is_png and is_before and is_said and not self.info.keys() & _WRITTEN

    def _encoded(self) -> bytes:
        """The PNG without texts; by OpenCV, which is twice as quick as Pillow."""
        pixels = np.asarray(self)
        digest = hashlib.sha1(self.tobytes(), usedforsecurity=False).digest() + str(self.size).encode()
        known: tuple[bytes, bytes] | None = self.__dict__.get("_quick_png")
        if known is None or known[0] != digest:
            # told nothing it takes the lowest level, run lengths and differences between neighbours
            _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
            known = self.__dict__["_quick_png"] = digest, encoded.tobytes()
        return known[1]


_WRITTEN = {"icc_profile", "transparency"}
"""What Pillow writes of a picture's `info` by itself."""


def _text_chunks(pnginfo: Any) -> bytes:
    """The chunks that Pillow makes of it, as they stand behind the first one of a picture of one pixel."""
    if pnginfo is None:
        return b""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG", pnginfo=pnginfo)
    encoded = file.getvalue()
    end = _HEADER
    while encoded[end + 4 : end + 8] != b"IDAT":
        end += 12 + int.from_bytes(encoded[end : end + 4], "big")
    return encoded[_HEADER:end]
