"""Pictures that are written as PNG quickly."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from daam.pictures import quick_png
from daam.pictures.quick_png import QuickPng


def picture() -> Image.Image:
    """Smooth, with a little noise, as generated pictures are."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 512)[:, None, None] * np.array([1.0, 0.5, 0.2]) + np.zeros((512, 512, 3))
    return Image.fromarray(np.clip(ramp + rng.normal(20, 3, ramp.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, **parameters: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **parameters})
    return file.getvalue()


def seconds(make: Callable[[], Image.Image]) -> float:
    def once() -> float:
        image = make()
        started = time.process_time()
        encoded(image)
        return time.process_time() - started

    return min(once() for _ in range(3))


def test_the_same_pixels_in_half_the_time_and_hardly_more_room() -> None:
    plain, quick = picture(), QuickPng.of(picture())
    read = Image.open(io.BytesIO(encoded(quick)))
    assert read.tobytes() == plain.tobytes() and (read.mode, read.size) == (plain.mode, plain.size)
    assert len(encoded(quick)) < 1.3 * len(encoded(plain))
    assert seconds(lambda: QuickPng.of(plain)) < 0.5 * seconds(lambda: plain)


def test_a_chunk_behind_the_pixels_is_kept() -> None:
    texts = PngInfo()
    texts.add(b"abCd", b"behind", after_idat=True)
    found = encoded(QuickPng.of(picture()), pnginfo=texts)
    assert found.rindex(b"IDAT") < found.index(b"abCd")


def test_texts_stand_in_it_as_pillow_writes_them(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("parameters", "a red circle\nSteps: 20")
    texts.add_itxt("other", "ein größeres Bild")
    quick, target = QuickPng.of(picture()), tmp_path / "a.png"
    quick.save(target, pnginfo=texts, quality=80)
    with Image.open(target) as read, Image.open(io.BytesIO(encoded(picture(), pnginfo=texts))) as expected:
        assert read.info == expected.info and len(read.info) == 2
        assert read.tobytes() == expected.tobytes()
    assert target.read_bytes() == encoded(quick, pnginfo=texts)
    with open(tmp_path / "b.png", "wb") as file:
        quick.save(file, pnginfo=texts)
        assert (tmp_path / "b.png").read_bytes() == target.read_bytes()


def test_it_is_encoded_once_as_long_as_no_pixel_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, calls = QuickPng.of(picture()), []
    original = quick_png.cv2.imencode
    monkeypatch.setattr(quick_png.cv2, "imencode", lambda *given: calls.append(given) or original(*given))
    assert encoded(quick) == encoded(quick) and len(calls) == 1
    quick.paste((1, 2, 3), (0, 0, 9, 9))
    with Image.open(io.BytesIO(encoded(quick))) as read:
        assert read.getpixel((4, 4)) == (1, 2, 3) and len(calls) == 2


def test_what_pillow_writes_by_itself_is_not_lost() -> None:
    image = picture()
    image.info["icc_profile"] = b"a profile"
    with Image.open(io.BytesIO(encoded(QuickPng.of(image)))) as read:
        assert read.info["icc_profile"] == b"a profile"
    grey = QuickPng.of(picture().convert("L"))
    with Image.open(io.BytesIO(encoded(grey))) as read:
        assert read.mode == "L" and read.tobytes() == grey.tobytes()


def test_who_saves_it_may_say_otherwise() -> None:
    said = {"compress_level": 9, "compress_type": 0}
    assert encoded(QuickPng.of(picture()), **said) == encoded(picture(), **said)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP"])
def test_other_formats_are_as_ever(format: str) -> None:
    assert encoded(QuickPng.of(picture()), format=format) == encoded(picture(), format=format)


def test_it_is_worked_on_like_any_picture() -> None:
    quick = QuickPng.of(picture())
    assert quick.resize((64, 64)).tobytes() == picture().resize((64, 64)).tobytes()
    assert np.array_equal(np.asarray(quick), np.asarray(picture()))
    assert quick.copy().tobytes() == picture().tobytes()
