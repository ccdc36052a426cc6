"""Recordings: the same files give the same frames, with the times of the recording."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from camera.rigs import make_video
from camera.web_camera import HEIGHT, WIDTH, jpeg, quadrants
from edge_runtime.camera.recording import read_recording, stills_in
from edge_runtime.camera.source import EndOfRecording, source_for
from edge_runtime.errors import Refused, Unavailable

Program = Callable[[str, str], str]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Path:
    folder = tmp_path_factory.mktemp("video")
    cv2.imwrite(str(folder / "q.png"), quadrants())
    make_video(program("ffmpeg", "ffmpeg"), folder / "q.png", folder / "shelf.mp4", seconds=2.0)
    os.utime(folder / "shelf.mp4", (1_700_000_000, 1_700_000_000))
    return folder / "shelf.mp4"


def test_every_frame_of_a_video_in_order(video: Path) -> None:
    frames = list(read_recording(video, camera="bay"))
    assert [f.sequence for f in frames] == list(range(1, 21))
    assert [round(f.captured_monotonic_s, 3) for f in frames] == [round(0.1 * n, 3) for n in range(20)]
    assert frames[5].captured_at == pytest.approx(1_700_000_000.5)
    assert {f.camera for f in frames} == {"bay"} and frames[0].pixels.shape == (HEIGHT, WIDTH, 3)


def test_twice_the_same(video: Path) -> None:
    first, second = (list(read_recording(video, 0.5)) for _ in range(2))
    assert len(first) == len(second) == 4
    for a, b in zip(first, second, strict=True):
        assert (a.captured_monotonic_s, a.captured_at) == (b.captured_monotonic_s, b.captured_at)
        assert (a.pixels == b.pixels).all()


@pytest.mark.parametrize(
    ("interval_s", "times"), [(0.5, [0.0, 0.5, 1.0, 1.5]), (0.25, [0, 0.3, 0.5, 0.8, 1, 1.3, 1.5, 1.8]), (9.0, [0.0])]
)
def test_sampling_takes_the_first_picture_of_each_interval(video: Path, interval_s: float, times: list[float]) -> None:
    assert [round(f.captured_monotonic_s, 3) for f in read_recording(video, interval_s)] == times


def test_a_raw_stream_without_times_counts_pictures(video: Path, tmp_path: Path, program: Program) -> None:
    raw = tmp_path / "raw.h264"
    ffmpeg = program("ffmpeg", "ffmpeg")
    subprocess.run([ffmpeg, "-v", "error", "-i", str(video), "-c", "copy", "-f", "h264", str(raw)], check=True)
    times = [f.captured_monotonic_s for f in read_recording(raw)]
    assert len(times) == 20 and times == sorted(set(times))


def test_a_folder_is_read_by_number(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / f"shelf{number}.jpg").write_bytes(jpeg(np.full((20, 30, 3), 10 * number, np.uint8)))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".shelf0.jpg").write_text("half uploaded")
    os.utime(tmp_path / "shelf1.jpg", (1000, 1000))
    frames = list(read_recording(tmp_path, 5.0))
    assert [int(f.pixels[0, 0, 0]) for f in frames] == [10, 20, 100]
    assert [f.captured_monotonic_s for f in frames] == [0.0, 5.0, 10.0]
    assert [f.captured_at for f in frames] == [1000.0, 1005.0, 1010.0]


def test_exif_times_are_the_times_of_the_recording(tmp_path: Path) -> None:
    for number in range(3):
        exif = Pillow.Exif()
        exif[0x0132] = f"2024:01:01 00:{number * 10:02}:00"
        Pillow.new("RGB", (20, 20)).save(tmp_path / f"{number}.jpg", exif=exif)
    frames = list(read_recording(tmp_path))
    assert [f.captured_monotonic_s for f in frames] == [0.0, 600.0, 1200.0]
    assert frames[0].captured_at == 1704067200.0


def test_a_bad_still_is_told_and_passed_over(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg() if number != 1 else b"")
    told: list[Refused] = []
    assert len(list(read_recording(tmp_path, on_refused=told.append))) == 2
    assert len(told) == 1 and "1.jpg" in told[0].found
    with pytest.raises(Refused, match=r"1\.jpg"):
        list(read_recording(tmp_path))


def test_a_source_over_a_folder_tells_the_bad_still_once(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg() if number != 1 else b"")
    source = source_for(f"file://{tmp_path}", interval_s=0.01)
    source.open()
    source.read()
    with pytest.raises(Refused):
        source.read()
    source.read()
    assert source.read() == EndOfRecording(2)


def test_what_is_not_there_or_no_recording(tmp_path: Path, video: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:2000])
    for name, word in (("empty", "holds no pictures, but nothing"), ("nowhere.mp4", "no file or folder")):
        with pytest.raises(Unavailable, match=word) as met:
            list(read_recording(tmp_path / name))
        assert met.value.mend
    for name in ("text.mp4", "zero.mp4", "cut.mp4"):
        with pytest.raises(Refused, match="not a video") as bad:
            list(read_recording(tmp_path / name))
        assert bad.value.mend


def test_stills_are_found_by_suffix_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "A.JPG").write_bytes(jpeg())
    assert [p.name for p in stills_in(tmp_path)] == ["A.JPG"]
