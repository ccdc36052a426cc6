"""What is built for `infer` and `replay`, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.daemon.compose import build_camera_pipeline, build_daemon, load_pipeline
from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.layout import read_layout
from edge_runtime.records import Frame, Image, Outcome, RegistrationStatus, State, View
from tests.daemon.rig import Rig, noisy, shelf_picture, write_shelf
from tests.lifecycle.bundles import make_bundle


def frame_of(pixels: Image, number: int = 1) -> Frame:
    return Frame("camera", number, pixels, float(number), float(number))


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_shelf(tmp_path / "shelf")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "shelf-test-1.0.0.zip")


def test_photographs_have_readings_but_no_time(layout: Path, bundle: Path) -> None:
    read, used, pipeline = load_pipeline(layout, bundle, stateless=True)
    assert len(read.slots) == 4 and used.manifest.version == "1.0.0"
    for _ in range(6):
        outcome = pipeline.step(frame_of(shelf_picture()))
        assert [reading.state for reading in outcome.readings] == [State.STOCKED] * 4
        assert outcome.statuses == () and outcome.events == ()


def test_a_recording_has_states_over_time(layout: Path, bundle: Path) -> None:
    heard: list[Outcome] = []

    class Listener:
        def observe(self, outcome: Outcome) -> None:
            heard.append(outcome)

    _, _, pipeline = load_pipeline(layout, bundle, [Listener()], camera="day")
    for number in range(1, 4):
        outcome = pipeline.step(frame_of(noisy(shelf_picture(), number), number))
    assert [status.state for status in outcome.statuses] == [State.STOCKED] * 4
    assert heard[-1] is outcome


def test_raw_is_the_picture_as_it_is(layout: Path, bundle: Path) -> None:
    _, _, pipeline = load_pipeline(layout, bundle, raw=True, stateless=True)
    view = pipeline.step(frame_of(shelf_picture())).view
    assert isinstance(view, View) and view.registration.status is RegistrationStatus.OFF


def test_without_a_bundle_the_pictures_are_still_normalized(layout: Path) -> None:
    pipeline = build_camera_pipeline(read_layout(layout), None, stateless=True)
    outcome = pipeline.step(frame_of(shelf_picture()))
    assert isinstance(outcome.view, View)
    assert {reading.reason for reading in outcome.readings} == {"no_model"}


def test_what_is_wrong_with_a_file_is_said_by_its_owner(layout: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        load_pipeline(tmp_path / "none.json", bundle)
    with pytest.raises(Refused):
        load_pipeline(layout, layout)
    layout.write_text("{}")
    with pytest.raises(BadConfig):
        load_pipeline(layout, bundle)


def test_a_daemon_is_built_without_starting_anything(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = build_daemon(rig.config)
    assert daemon.roster.stations == {} and daemon.parts.view_url == ""
    assert not (tmp_path / "state").exists()


def test_a_device_that_nobody_looks_at_loads_no_fonts_and_no_random_numbers(layout: Path, bundle: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edge_runtime.daemon.compose import load_pipeline\n"
        "import edge_runtime.daemon.broker, edge_runtime.daemon.service, edge_runtime.web.server\n"
        "load_pipeline(*map(Path, sys.argv[1:]))\n"
        "print(*sorted({'PIL.ImageFont', 'numpy.random'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(layout), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_infer_loads_no_broker_database_or_server() -> None:
    program = "import sys, edge_runtime.daemon.compose; print(*sorted({'paho','sqlite3','http','asyncio','tuf','PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() in ([], ["PIL"])
