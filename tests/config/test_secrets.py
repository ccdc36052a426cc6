from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from edge_runtime.config import CameraConfig, authorized_source, read_secret, shown_url
from edge_runtime.errors import Unavailable


def test_a_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for raw in (b"hunter2", b"hunter2\n", b"hunter2\r\n", b"hunter2\nnotes\n"):
        path.write_bytes(raw)
        assert read_secret(path) == "hunter2"


@pytest.mark.parametrize("raw", [None, b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_a_file_without_a_secret_says_where_to_write_it(tmp_path: Path, raw: bytes | None) -> None:
    path = tmp_path / "secret"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(Unavailable, match="secret"):
        read_secret(path)


def test_credentials_of_a_file_are_put_into_the_url_and_escaped(tmp_path: Path) -> None:
    path = tmp_path / "login"
    path.write_text("user:p@ss/w:rd\n")
    camera = CameraConfig("a", "rtsp://cam:8554/main?x=1", Path("l"), credentials_file=path)
    assert authorized_source(camera) == "rtsp://user:p%40ss%2Fw%3Ard@cam:8554/main?x=1"
    assert authorized_source(CameraConfig("a", "/dev/video0", Path("l"), credentials_file=path)) == "/dev/video0"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://u:hunter2@h:8554/main", "rtsp://***@h:8554/main"),
        ("http://h/x.mjpg?token=hunter2", "http://h/x.mjpg?***"),
        ("http://u:p@ss/w@h/x", "http://***@h/x"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_what_is_shown_holds_no_secret(source: str, shown: str) -> None:
    assert shown_url(source) == shown


@given(st.text(alphabet="abc@:/?#", max_size=12))
def test_no_password_is_shown_whatever_it_holds(text: str) -> None:
    assert "SECRET" not in shown_url(f"rtsp://u:SECRET{text}@host/path")
