"""Stills: every common file becomes upright BGR; every bad one is refused with what was found."""

from __future__ import annotations

import ctypes
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from camera.web_camera import COLOURS, HEIGHT, WIDTH, jpeg, quadrants
from edge_runtime.camera.silence import Remarks
from edge_runtime.camera.still import decode_still, read_taken_at
from edge_runtime.errors import Refused, Unavailable

PICTURE = Pillow.fromarray(quadrants()[:, :, ::-1].copy())


def saved(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def assert_quadrants(pixels: NDArray[np.uint8]) -> None:
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    for (x, y), colour in COLOURS.items():
        assert abs(pixels[y, x].astype(int) - colour).max() < 20, (x, y)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("WEBP", "RGB", {"quality": 95}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "CMYK", {}),
        ("GIF", "P", {}),
        ("PPM", "RGB", {}),
    ],
)
def test_every_common_format_and_mode(kind: str, mode: str, options: dict[str, object], tmp_path: Path) -> None:
    data = saved(PICTURE.quantize() if mode == "P" else PICTURE.convert(mode), kind, **options)
    assert_quadrants(decode_still(data))
    path = tmp_path / "named.wrong"
    path.write_bytes(data)
    assert_quadrants(decode_still(path))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    undo = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT,
        3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_90,
        7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_270,
    }
    stored = PICTURE.transpose(undo[orientation]) if orientation in undo else PICTURE
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    assert_quadrants(decode_still(saved(stored, kind, exif=exif)))


def test_the_exif_time_is_read(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:02:29 12:00:00"
    exif.get_ifd(0x8769)[0x9011] = "+02:00"
    path = tmp_path / "shelf.jpg"
    path.write_bytes(saved(PICTURE, "JPEG", exif=exif))
    assert read_taken_at(path) == 1709200800.0
    path.write_bytes(jpeg())
    assert read_taken_at(path) is None


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_becomes_three_equal_channels(mode: str) -> None:
    pixels = decode_still(saved(PICTURE.convert("L").convert(mode), "PNG"))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (pixels[:, :, 0] == pixels[:, :, 2]).all()


def test_sixteen_bits_become_eight() -> None:
    ramp = np.linspace(0, 65535, 256 * 16).reshape(16, 256).astype(np.uint16)
    pixels = decode_still(saved(Pillow.fromarray(ramp), "PNG"))
    assert abs(pixels[:, :, 1].astype(int) - (ramp >> 8)).max() <= 1


def test_transparent_parts_are_white() -> None:
    clear = Pillow.new("RGBA", (20, 20), (200, 0, 0, 0))
    assert (decode_still(saved(clear, "PNG")) == 255).all()


def test_a_small_camera_picture_and_its_slow_decoding_agree() -> None:
    data = jpeg()
    slow = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))[:, :, ::-1]
    assert abs(decode_still(data).astype(int) - slow).max() <= 4


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is huge."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def huge_jpeg() -> bytes:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


DATA = jpeg()
SCAN = DATA.index(b"\xff\xda")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"hello, this is no picture", "text"),
        (b"\0\0\0\x20ftypisom" + bytes(100), "video"),
        (bytes(range(200, 256)), "begins with"),
        (DATA[: len(DATA) // 2], "cut off"),
        (DATA[:-2], "cut off"),
        (DATA[:100], "cut off"),
        (DATA[:3], "picture"),
        (DATA[: SCAN + 40] + b"\xff\x42" + DATA[SCAN + 42 :], "damaged"),
        (DATA[: len(DATA) * 2 // 3] + b"\xff\xd9", "damaged: premature end"),
        (saved(PICTURE, "PNG")[:300], "cut off"),
        (saved(PICTURE, "JPEG", progressive=True)[:900], "cut off"),
        (bomb(40000, 40000), "megapixels"),
        (bomb(9000, 9000), "megapixels"),
        (huge_jpeg(), "megapixels"),
        (saved(PICTURE.resize((4, 4)), "PNG"), "8 pixels"),
    ],
)
def test_bad_pictures_are_refused_with_what_was_found(data: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(Refused, match=word) as met:
            decode_still(source)
        assert met.value.mend
    assert "bad.jpg" in met.value.found


def test_a_lost_restart_interval_is_noticed() -> None:
    data = saved(PICTURE, "JPEG", restart_marker_blocks=20)
    first, second = data.index(b"\xff\xd1"), data.index(b"\xff\xd2")
    assert_quadrants(decode_still(data))
    with pytest.raises(Refused, match="missing"):
        decode_still(data[:first] + data[second:])


def test_too_big_a_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    with path.open("wb") as out:
        out.truncate(65 * 1024 * 1024)
    with pytest.raises(Refused, match="64 MB"):
        decode_still(path)


def test_what_is_no_file_is_unavailable(tmp_path: Path) -> None:
    for path, word in (
        (tmp_path, "folder"),
        (tmp_path / "nowhere.jpg", "can not be read"),
        (Path("/dev/null"), "not a file"),
    ):
        with pytest.raises(Unavailable, match=word):
            decode_still(path)


@pytest.mark.filterwarnings("ignore")  # pytest undoes the silence that the next test is about
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_gives_a_picture_or_a_refusal(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([DATA, saved(PICTURE, "PNG"), saved(PICTURE, "WEBP"), saved(PICTURE, "TIFF")]))
    bad = bytearray(good[: data.draw(st.integers(0, len(good)))] if data.draw(st.booleans()) else good)
    for _ in range(data.draw(st.integers(0, 5))):
        if bad:
            bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode_still(bytes(bad))
    except Refused as fault:
        assert fault.mend
    else:
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8


def test_bad_pictures_leave_standard_error_clean(tmp_path: Path) -> None:
    files = [
        DATA[:900],
        bomb(12000, 8000),
        saved(PICTURE, "PNG")[:300],
        DATA[: SCAN + 40] + b"\xff\x42" + DATA[SCAN + 42 :],
        DATA[: len(DATA) * 2 // 3] + b"\xff\xd9",
    ]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(3000))
    code = (
        "import sys, pathlib\n"
        "from edge_runtime.camera.still import decode_still\n"
        "from edge_runtime.camera.recording import read_recording\n"
        "from edge_runtime.errors import Refused\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: decode_still(path) if path.suffix == '.jpg' else list(read_recording(path))\n"
        "    except Refused: pass\n"
        "    else: sys.exit(path.name)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "")


def test_only_the_remarks_of_c_are_heard_and_the_log_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    remarks = Remarks()
    for _ in range(2):
        with remarks.heard() as lines:
            libc.perror(b"remark")
            os.write(2, b"own log\n")
        assert len(lines) == 1 and lines[0].startswith("remark: ")
    libc.perror(b"outside")
    printed = capfd.readouterr().err.splitlines()
    assert printed[:2] == ["own log", "own log"] and printed[2].startswith("outside: ") and len(printed) == 3


def test_a_few_bytes_too_many_before_the_end_are_no_harm() -> None:
    assert_quadrants(decode_still(DATA[:-2] + b"\x00\x12\x34" + DATA[-2:]))
