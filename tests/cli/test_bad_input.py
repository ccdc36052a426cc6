"""Every row of bad input: a message that says what was found and the mend, and the right exit code; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import SIZE, Run, Site


def check(ran: object, code: int, *words: str) -> None:
    err = getattr(ran, "err", "")
    assert getattr(ran, "code", None) == code, err
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


def layout_with(site: Site, tmp_path: Path, **changes: object) -> Path:
    record = json.loads(site.layout.read_text()) | changes
    (tmp_path / "reference.jpg").write_bytes((site.folder / "reference.jpg").read_bytes())
    path = tmp_path / "layout.json"
    path.write_text(json.dumps(record))
    return path


def infer(run: Run, site: Site, layout: Path, *images: Path) -> object:
    return run("infer", "--layout", layout, *(images or (site.full,)), "--model", site.bundle, "--json")


SQUARE = [[100, 100], [300, 100], [300, 300], [100, 300]]


def test_an_empty_image(run: Run, site: Site, tmp_path: Path) -> None:
    bad = tmp_path / "empty.jpg"
    bad.touch()
    ran = infer(run, site, site.layout, bad, site.full)
    check(ran, 1, "is empty (0 bytes)")
    first, second = ran.lines  # type: ignore[attr-defined]
    assert (first["usable"], first["reason"], len(first["slots"])) == (False, "unreadable", 6)
    assert second["usable"], "the others go on"


@pytest.mark.parametrize("kept", [10, 400, 20_000])
def test_a_truncated_image(run: Run, site: Site, tmp_path: Path, kept: int) -> None:
    bad = tmp_path / "cut.jpg"
    bad.write_bytes(site.full.read_bytes()[:kept])
    ran = infer(run, site, site.layout, bad)
    check(ran, 1, "cut.jpg")
    assert ran.lines[0]["reason"] == "unreadable"  # type: ignore[attr-defined]


def test_a_text_instead_of_an_image(run: Run, site: Site) -> None:
    check(infer(run, site, site.layout, site.layout), 1, "is not a picture", "Give a JPEG")


def test_an_image_that_is_not_there(run: Run, site: Site, tmp_path: Path) -> None:
    check(infer(run, site, site.layout, tmp_path / "no.jpg"), 1, "No such file")


def test_a_folder_without_pictures(run: Run, site: Site, tmp_path: Path) -> None:
    check(infer(run, site, site.layout, tmp_path), 1, "holds no picture")


def test_no_layout(run: Run, site: Site, tmp_path: Path) -> None:
    check(infer(run, site, tmp_path / "layout.json"), 69, "can not be read", "camera commission")


def test_a_folder_instead_of_a_layout(run: Run, site: Site) -> None:
    check(infer(run, site, site.folder), 78, "is a folder", "layout.json")


def test_a_layout_that_is_not_json(run: Run, site: Site) -> None:
    check(infer(run, site, site.full), 78, "is not a shelf-layout/1 file")


def test_a_polygon_that_leaves_the_picture(run: Run, site: Site, tmp_path: Path) -> None:
    outside = [{"id": "a", "sku": "", "polygon": [[100, 100], [1300, 100], [1300, 300], [100, 300]]}]
    check(infer(run, site, layout_with(site, tmp_path, slots=outside)), 78, "slot 'a'", "leaves the 960x720 picture")


def test_polygons_that_overlap(run: Run, site: Site, tmp_path: Path) -> None:
    twice = [{"id": "a", "sku": "", "polygon": SQUARE}, {"id": "b", "sku": "", "polygon": SQUARE}]
    check(infer(run, site, layout_with(site, tmp_path, slots=twice)), 78, "slots 'a' and 'b' overlap", "Draw the named")


def test_slot_ids_that_repeat(run: Run, site: Site, tmp_path: Path) -> None:
    twice = [{"id": "a", "sku": "", "polygon": SQUARE}] * 2
    check(infer(run, site, layout_with(site, tmp_path, slots=twice)), 78, "'a' is given twice")


def test_a_reference_of_another_size(run: Run, site: Site, tmp_path: Path) -> None:
    slots = [{"id": "a", "sku": "", "polygon": SQUARE}]
    ran = infer(run, site, layout_with(site, tmp_path, image_size=[640, 480], slots=slots))
    check(ran, 78, f"{SIZE[0]}x{SIZE[1]}", "640x480")


def test_a_reference_that_is_not_there(run: Run, site: Site, tmp_path: Path) -> None:
    layout = layout_with(site, tmp_path)
    (tmp_path / "reference.jpg").unlink()
    check(infer(run, site, layout), 69, "reference.jpg")


def test_a_bundle_that_is_not_a_zip(run: Run, site: Site) -> None:
    check(run("infer", "--layout", site.layout, site.full, "--model", site.layout), 1, "layout.json", "build pack")


def test_a_bundle_that_is_not_there(run: Run, site: Site, tmp_path: Path) -> None:
    check(run("infer", "--layout", site.layout, site.full, "--model", tmp_path / "no.zip"), 69, "can not be read")


def test_a_recording_that_is_not_there(run: Run, site: Site, tmp_path: Path) -> None:
    ran = run("replay", tmp_path / "no.mp4", "--layout", site.layout, "--model", site.bundle)
    check(ran, 69, "there is no file or folder")


def test_a_recording_that_is_no_video(run: Run, site: Site, tmp_path: Path) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(b"\0" * 5000)
    check(run("replay", fake, "--layout", site.layout, "--model", site.bundle), 1, "fake.mp4")


def test_a_camera_that_is_not_there(run: Run) -> None:
    check(run("camera", "probe", "/dev/video99"), 69, "/dev/video99")


def test_a_camera_url_where_nobody_listens(run: Run) -> None:
    check(run("camera", "probe", "http://127.0.0.1:9/stream.mjpg"), 69, "127.0.0.1:9")


def test_a_camera_url_that_can_never_work(run: Run) -> None:
    check(run("camera", "probe", "gopher://camera"), 2, "gopher", "not supported")


def test_a_password_in_a_camera_url_is_never_shown(run: Run) -> None:
    ran = run("camera", "probe", "http://admin:hunter2@127.0.0.1:9/stream.mjpg")
    assert "hunter2" not in ran.out + ran.err


def test_an_unknown_key_in_device_toml(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text('[device]\nid = "a"\nsite = "b"\ncolour = "red"\n[[camera]]\nname = "c"\nsource = "x.mp4"\n')
    ran = run("config", "check", file)
    check(ran, 78, "device.toml:4", "colour", "layout")


def test_a_device_toml_that_is_not_there(run: Run, tmp_path: Path) -> None:
    check(run("config", "check", tmp_path / "device.toml"), 78, "can not be read", "config init")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["infer"], ["infer", "--layout"], ["model"], ["camera", "fly"]])
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    check(run(*arguments), 2, "usage: edge-runtime")
