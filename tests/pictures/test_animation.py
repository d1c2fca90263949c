"""Animations, read back by Pillow frame by frame."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from daam.errors import SettingError, ShapeError
from daam.pictures.animation import save_animation


def moving_square(count: int = 5) -> list[Image.Image]:
    """A bright square that walks over a still gradient."""
    still = np.linspace(0, 160, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    frames = []
    for step in range(count):
        frame = still.copy()
        frame[4:14, 4 + 10 * step : 14 + 10 * step] = (250, 220, 40)
        frames.append(Image.fromarray(frame))
    return frames


def read_frames(path: Path) -> list[NDArray[np.uint8]]:
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.fixture(params=["a.gif", "a.webp", "CAPITALS.GIF"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_every_frame_comes_back_in_order(path: Path) -> None:
    frames = moving_square()
    save_animation(frames, path)
    read = read_frames(path)
    assert len(read) == len(frames)
    for saved, wanted in zip(read, frames, strict=True):
        assert np.abs(saved.astype(int) - np.asarray(wanted)).mean() < 4


def test_it_loops_for_ever_and_shows_each_frame_for_the_time_asked(path: Path) -> None:
    save_animation(moving_square(3), str(path), seconds_per_frame=0.25)
    with Image.open(path) as image:
        durations = []
        for frame in ImageSequence.Iterator(image):
            frame.load()
            durations.append(frame.info["duration"])
        assert durations == [250, 250, 250]
        assert image.info["loop"] == 0


def test_what_stands_still_does_not_flicker_in_a_gif(tmp_path: Path) -> None:
    frames = moving_square()
    generator = np.random.default_rng(0)
    for frame in frames[1:]:
        frame.paste(Image.fromarray(generator.integers(0, 256, (20, 64, 3), np.uint8)), (0, 0))
    save_animation(frames, tmp_path / "a.gif")
    first, *others = read_frames(tmp_path / "a.gif")
    for other in others:
        assert np.array_equal(other[20:], first[20:])


def test_a_gif_takes_its_colours_from_all_frames(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    save_animation([Image.new("RGB", (16, 16), colour) for colour in colours], tmp_path / "a.gif")
    assert [tuple(frame[5, 5]) for frame in read_frames(tmp_path / "a.gif")] == colours


def test_one_frame_is_enough(path: Path) -> None:
    save_animation(moving_square(1), path)
    assert len(read_frames(path)) == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_frames_of_other_modes_are_taken(path: Path, mode: str) -> None:
    save_animation([frame.convert(mode) for frame in moving_square(2)], path)
    assert len(read_frames(path)) == 2


@pytest.mark.parametrize("name", ["a.png", "a", "gif", "a.gif.mp4"])
def test_another_suffix_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match=r"\.gif or \.webp"):
        save_animation(moving_square(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seconds", [0, -1, 0.001, 1000, float("nan")])
def test_a_time_out_of_range_is_refused(path: Path, seconds: float) -> None:
    with pytest.raises(SettingError, match="seconds"):
        save_animation(moving_square(), path, seconds_per_frame=seconds)


def test_no_frames_are_refused(path: Path) -> None:
    with pytest.raises(ShapeError, match="at least one frame"):
        save_animation([], path)


def test_frames_of_different_sizes_are_refused(path: Path) -> None:
    with pytest.raises(ShapeError, match="8x4, 4x8"):
        save_animation([Image.new("RGB", (4, 8)), Image.new("RGB", (8, 4))], path)
