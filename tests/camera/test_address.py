"""Addresses: which kind, what is wrong, and never a password in a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.camera.address import parse_net_address, redact
from edge_runtime.camera.source import source_for
from edge_runtime.errors import Usage


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("/dev/video0", "ChildSource"),
        ("/dev/video12", "ChildSource"),
        ("v4l2:/dev/video0?size=1920x1080&format=yuyv", "ChildSource"),
        ("rtsp://cam/stream", "ChildSource"),
        ("RTSPS://cam:322/stream", "ChildSource"),
        ("http://cam/video.mjpg", "HttpSource"),
        ("https://cam/still.jpg", "HttpSource"),
        ("file:///tmp/a%20b.mp4", "RecordingSource"),
        ("videos/shelf.mp4", "RecordingSource"),
        ("./stills", "RecordingSource"),
    ],
)
def test_the_scheme_decides(uri: str, kind: str) -> None:
    assert type(source_for(uri)).__name__ == kind


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("ftp://u:p4ss@cam/x", "not supported"),
        ("http://", "no host"),
        ("http://u:p4ss@/x", "no host"),
        ("rtsp://u:p4ss@cam:99999/x", "port"),
        ("rtsp://u:p4ss@cam:0/x", "port 0"),
        ("rtsp://u:p4ss@cam:abc/x", "port"),
        ("http://[::1/x", "host or port"),
        ("http://u:p4ss@cam/a b", "blanks"),
        ("http://cam/\n", "blanks"),
        ("http://cam/" + "x" * 3000, "too long"),
        ("v4l2:video0", "V4L2"),
        ("v4l2:/dev/video0?fps=5", "V4L2"),
        ("/dev/video0?size=big", "V4L2"),
        ("file://other/x.mp4", "this device only"),
    ],
)
def test_a_wrong_address_is_a_usage_fault_with_a_mend(uri: str, word: str) -> None:
    with pytest.raises(Usage, match=word) as met:
        source_for(uri)
    assert met.value.mend and "p4ss" not in str(met.value)


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@given(words, words)
def test_user_and_password_come_through_percent_encoding_and_stay_secret(user: str, password: str) -> None:
    from urllib.parse import quote

    secret = quote(f"{password}-s3cr3t", safe="")
    uri = f"rtsp://{quote(user, safe='')}:{secret}@cam.example:8554/live?channel=1&pwd={secret}"
    address = parse_net_address(uri)
    assert (address.user, address.password) == (user, f"{password}-s3cr3t")
    assert parse_net_address(address.with_credentials) == address
    for text in (address.name, repr(address), redact(uri), redact(f"can not open '{uri}': refused")):
        assert "s3cr3t" not in text
    assert "cam.example:8554" in address.name and "channel=1" in address.name


def test_ipv6() -> None:
    assert parse_net_address("http://[fe80::1]:81/x").place == "[fe80::1]:81"
