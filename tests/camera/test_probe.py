"""`camera list`, `camera probe`, `camera snapshot` underneath."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from camera.web_camera import HEIGHT, WIDTH, WebCamera, jpeg
from edge_runtime.camera.devices import enumerate_devices
from edge_runtime.camera.probe import probe, snapshot
from edge_runtime.errors import EXIT_UNAVAILABLE, Refused, Unavailable, Usage


@pytest.fixture
def camera() -> Iterator[WebCamera]:
    made = WebCamera()
    made.start()
    yield made
    made.stop()


def test_a_good_camera_is_described(camera: WebCamera) -> None:
    report = probe(camera.uri("/stream.mjpg", "tech:s3cret@"), seconds=0.4)
    assert report.opened and report.pictures >= 2 and not report.fault and report.exit_code == 0
    assert (report.width, report.height, report.codec) == (WIDTH, HEIGHT, "mjpeg")
    assert report.fps > 0 and report.first_frame_ms >= report.open_ms > 0 and report.decode_ms > 0
    assert "s3cret" not in repr(report)


def test_an_absent_camera_is_a_report_with_a_mend(camera: WebCamera) -> None:
    camera.stop()
    report = probe(camera.uri("/stream.mjpg", "tech:s3cret@"), seconds=0.2)
    assert not report.opened and report.exit_code == EXIT_UNAVAILABLE
    assert "nothing listens" in report.fault and "s3cret" not in repr(report)


def test_a_camera_whose_pictures_are_all_bad(camera: WebCamera) -> None:
    camera.picture = jpeg()[:500]
    report = probe(camera.uri("/stream.mjpg"), seconds=0.2)
    assert report.opened and report.pictures == 0 and report.refused == 10 and "cut off" in report.fault
    with pytest.raises(Refused):
        snapshot(camera.uri("/still.jpg"))


def test_a_snapshot_is_one_picture(camera: WebCamera) -> None:
    assert snapshot(camera.uri("/still.jpg")).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(Unavailable):
        snapshot(camera.uri("/nowhere"))
    with pytest.raises(Usage):
        snapshot("gopher://cam")


def test_devices_are_listed_capture_first(tmp_path: Path) -> None:
    sysfs, dev = tmp_path / "sys", tmp_path / "dev"
    dev.mkdir()
    for node, name, index in (("video10", "USB cam", "0"), ("video3", "USB cam", "1"), ("video2", "Door cam", "0")):
        (sysfs / node).mkdir(parents=True)
        (sysfs / node / "name").write_text(name + "\n")
        (sysfs / node / "index").write_text(index + "\n")
    (sysfs / "v4l-subdev0").mkdir()
    (dev / "video2").touch()
    found = enumerate_devices(sysfs, dev)
    assert [(Path(d.path).name, d.name, d.capture, d.usable) for d in found] == [
        ("video2", "Door cam", True, True),
        ("video10", "USB cam", True, False),
        ("video3", "USB cam", False, False),
    ]
    assert enumerate_devices(tmp_path / "nowhere") == ()
