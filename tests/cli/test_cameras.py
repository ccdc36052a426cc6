from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from edge_runtime.cli.commission import area_of, read_slots
from edge_runtime.errors import EdgeError, Usage
from edge_runtime.layout import read_layout

from .conftest import SIZE, Run, Site, shelf


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def camera(site: Site) -> Iterator[str]:
    """A network camera that serves one still."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site.folder / "photos")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/full.jpg"
    server.shutdown()
    server.server_close()
    thread.join()


def test_probe_measures_a_network_camera(run: Run, camera: str) -> None:
    ran = run("camera", "probe", camera, "--seconds", 0.5, "--json")
    assert ran.code == 0, ran.err
    (report,) = ran.lines
    assert (report["width"], report["height"]) == SIZE
    assert report["first_frame_ms"] > 0
    assert report["fault"] == ""


def test_snapshot_saves_an_upright_jpeg(run: Run, camera: str, tmp_path: Path) -> None:
    ran = run("camera", "snapshot", camera, "--out", tmp_path / "one.jpg", "--json")
    assert ran.code == 0, ran.err
    assert ran.lines == [{"file": str(tmp_path / "one.jpg"), "width": SIZE[0], "height": SIZE[1]}]
    assert cv2.imread(str(tmp_path / "one.jpg")).shape == (SIZE[1], SIZE[0], 3)


def test_snapshot_into_a_place_that_is_not_there(run: Run, camera: str, tmp_path: Path) -> None:
    ran = run("camera", "snapshot", camera, "--out", tmp_path / "no" / "one.jpg")
    assert (ran.code, "can not be written" in ran.err) == (69, True)


def test_list_says_so_when_there_is_none_and_lists_otherwise(run: Run) -> None:
    ran = run("camera", "list", "--json")
    assert (ran.code == 1 and "no video device" in ran.err) or (ran.code == 0 and ran.lines)


def test_commission_a_photograph_with_a_grid(run: Run, site: Site, tmp_path: Path) -> None:
    out = tmp_path / "bay"
    ran = run("camera", "commission", "--image", site.full, "--rows", 2, "--columns", 3, "--out", out, "--json")
    assert ran.code == 0, ran.err
    layout = read_layout(out / "layout.json")
    assert layout.image_size == SIZE
    assert [slot.id for slot in layout.slots] == ["r0s0", "r0s1", "r0s2", "r1s0", "r1s1", "r1s2"]
    assert cv2.imread(str(out / "reference.jpg")).shape[:2] == (SIZE[1], SIZE[0])
    assert cv2.imread(str(out / "overlay.jpg")) is not None
    assert {path.name for path in out.iterdir()} == {"layout.json", "reference.jpg", "overlay.jpg"}
    again = run("infer", "--layout", out / "layout.json", site.full, "--model", site.bundle, "--json")
    assert {slot["state"] for slot in again.lines[0]["slots"]} == {"stocked"}


def test_a_grid_keeps_the_perspective_of_its_area(run: Run, site: Site, tmp_path: Path) -> None:
    area = "100,50 860,150 860,550 100,650"
    call = ("camera", "commission", "--image", site.full, "--rows", 1, "--columns", 2, "--area", area)
    assert run(*call, "--out", tmp_path).code == 0
    left, right = read_layout(tmp_path / "layout.json").slots
    assert left.polygon[0] == (100.0, 50.0)
    assert right.polygon[2] == (860.0, 550.0)
    assert left.polygon[1] == right.polygon[0]
    assert left.polygon[1][0] > 480, "the nearer half, on the left, looks wider"


def test_commission_a_live_camera_takes_the_median(run: Run, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "walk-by"
    folder.mkdir()
    for number in range(5):
        picture = shelf()
        if number == 2:
            picture[:, 300:600] = 0
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    call = ("camera", "commission", "--source", folder, "--rows", 2, "--columns", 3, "--frames", 5)
    assert run(*call, "--out", tmp_path / "bay").code == 0
    reference = cv2.imread(str(tmp_path / "bay" / "reference.jpg"))
    assert float(np.abs(reference.astype(int) - shelf()).mean()) < 12, "whoever walked by is gone"


def test_slots_may_come_from_a_list_or_from_another_layout(run: Run, site: Site, tmp_path: Path) -> None:
    given = tmp_path / "slots.json"
    given.write_text(json.dumps([{"id": "a", "sku": "x", "polygon": [[10, 10], [200, 10], [200, 200], [10, 200]]}]))
    assert run("camera", "commission", "--image", site.full, "--slots", given, "--out", tmp_path / "one").code == 0
    assert [slot.sku for slot in read_layout(tmp_path / "one" / "layout.json").slots] == ["x"]
    small = tmp_path / "half.png"
    cv2.imwrite(str(small), cv2.resize(shelf(), (480, 360)))
    assert run("camera", "commission", "--image", small, "--slots", site.layout, "--out", tmp_path / "two").code == 0
    assert read_layout(tmp_path / "two" / "layout.json").slots[0].polygon[0] == (15.0, 20.0)


def test_commission_never_replaces_a_layout_unasked(run: Run, site: Site, tmp_path: Path) -> None:
    call = ("camera", "commission", "--image", site.full, "--rows", 1, "--columns", 1, "--out", tmp_path)
    assert run(*call).code == 0
    refused = run(*call)
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert run(*call, "--force").code == 0


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        ((), 2, "neither --slots nor --rows"),
        (("--rows", 2), 2, "neither --slots nor --rows"),
        (("--rows", 0, "--columns", 3), 2, "1 to 64 rows"),
        (("--rows", 2, "--columns", 3, "--area", "1,2 3,4"), 2, "not four corners"),
        (("--rows", 2, "--columns", 3, "--area", "0,0 5000,0 5000,700 0,700"), 78, "leaves the 960x720 picture"),
        (("--slots", "nowhere.json"), 69, "can not be read"),
        (("--rows", 2, "--columns", 3, "--frames", 0), 2, "1 to 99"),
    ],
)
def test_commission_refuses(
    run: Run, site: Site, tmp_path: Path, extra: tuple[object, ...], code: int, said: str
) -> None:
    ran = run("camera", "commission", "--image", site.full, "--out", tmp_path / "bay", *extra)
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert not (tmp_path / "bay" / "layout.json").exists()


@pytest.mark.parametrize("text", ["[1]", '[{"id": "a"}]', '[{"id": "a", "polygon": [[1, 2]]}]', "{", '"slots"'])
def test_slots_that_are_none(run: Run, site: Site, tmp_path: Path, text: str) -> None:
    given = tmp_path / "slots.json"
    given.write_text(text)
    ran = run("camera", "commission", "--image", site.full, "--slots", given, "--out", tmp_path / "bay")
    assert ran.code == 78, ran.err
    assert "Traceback" not in ran.err


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["id", "sku", "polygon", "slots", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything)
def test_any_json_gives_slots_or_an_expected_failure(tmp_path: Path, record: object) -> None:
    file = tmp_path / "slots.json"
    file.write_text(json.dumps(record))
    with suppress(EdgeError):
        read_slots(file, SIZE)


@given(st.text(max_size=40))
def test_any_area_is_four_corners_or_wrong_usage(text: str) -> None:
    with suppress(Usage):
        assert len(area_of(text, SIZE)) == 4
