"""A new reference from afar: only of a camera that stands still, sees its shelf well, and is recognised in the new picture."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.daemon.mountings import KEPT, POINTER, Mounting
from edge_runtime.daemon.recommission import LIMIT_S, Recommission, trouble_of
from edge_runtime.daemon.run import Daemon
from edge_runtime.errors import BadConfig, EdgeError, Refused, TryAgain
from edge_runtime.layout import read_layout
from edge_runtime.records import Image, Slot, State
from tests.daemon.rig import Rig, shelf_picture, write_shelf

SLOT = (Slot("s0", "sku", ((20, 20), (60, 20), (60, 90), (20, 90))),)


def pushed(dx: float = 6, dy: float = 4) -> Image:
    """The shelf as a camera sees it that was pushed by some pixels."""
    move = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    return np.ascontiguousarray(cv2.warpAffine(shelf_picture(), move, (320, 240), borderMode=cv2.BORDER_REFLECT))


def mounting_of(folder: Path) -> Mounting:
    return Mounting(folder / "state", "a", write_shelf(folder / "a"))


def test_without_anything_the_layout_of_device_toml_holds(tmp_path: Path) -> None:
    mounting = mounting_of(tmp_path)
    assert mounting.in_force() == tmp_path / "a" / "layout.json"
    with pytest.raises(Refused, match="no reference"):
        mounting.go_back()


def test_each_new_reference_can_be_gone_back_from_and_few_are_kept(tmp_path: Path) -> None:
    mounting, held = mounting_of(tmp_path), []
    for _ in range(KEPT + 2):
        number, layout = mounting.draft(shelf_picture(), SLOT)
        assert mounting.in_force() != layout.path
        mounting.hold(number)
        held.append(layout.path)
        assert mounting.in_force() == layout.path and layout.reference.is_file()
    assert Mounting(tmp_path / "state", "a", tmp_path / "a" / "layout.json").in_force() == held[-1]
    assert mounting.go_back() == held[-2]
    for _ in range(KEPT - 1):
        mounting.go_back()
    assert mounting.in_force() == tmp_path / "a" / "layout.json"
    number, layout = mounting.draft(shelf_picture(), SLOT)
    assert layout.path not in held  # a number is never used again while its folder is there
    mounting.discard(number)
    assert not layout.path.exists()


def test_who_commissions_the_camera_at_the_device_has_the_last_word(tmp_path: Path) -> None:
    mounting = mounting_of(tmp_path)
    mounting.hold(mounting.draft(shelf_picture(), SLOT)[0])
    cv2.imwrite(str(tmp_path / "a" / "reference.png"), shelf_picture(2))
    assert mounting.in_force() == tmp_path / "a" / "layout.json"


def test_a_damaged_pointer_or_a_lost_reference_leaves_the_layout_of_device_toml(tmp_path: Path) -> None:
    mounting = mounting_of(tmp_path)
    mounting.hold(mounting.draft(shelf_picture(), SLOT)[0])
    path = mounting.in_force()
    shutil.rmtree(path.parent)
    assert mounting.in_force() == tmp_path / "a" / "layout.json"
    (tmp_path / "state" / "layouts" / "a" / POINTER).write_bytes(b"\x00\xff")
    assert mounting.in_force() == tmp_path / "a" / "layout.json"


def test_slots_that_do_not_fit_and_a_disk_that_fails_leave_nothing_behind(tmp_path: Path) -> None:
    mounting = mounting_of(tmp_path)
    outside = (Slot("s0", "sku", ((-90, 20), (60, 20), (60, 90), (-90, 90))),)
    with pytest.raises(BadConfig):
        mounting.draft(shelf_picture(), outside)
    assert not list((tmp_path / "state").rglob("layout.json"))
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(TryAgain):
        mounting.draft(shelf_picture(), SLOT)


def settled(rig: Rig, pixels: Image) -> Daemon:
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 8, shelf_picture(), 1.0)
    rig.turns(daemon, 4, pixels, 1.0)
    return daemon


def carry_out(rig: Rig, daemon: Daemon, pixels: Image, step_s: float = 1.0) -> Recommission:
    """Show the camera a picture until the new reference is there, or refused."""
    job = Recommission(tmp_state(rig), daemon.roster.stations["a"], "for the test", rig.clock)
    for _ in range(120):
        rig.turns(daemon, 1, pixels, step_s)
        if job.attend(daemon):
            return job
        time.sleep(0.02)
    raise AssertionError("it never ended")


def tmp_state(rig: Rig) -> Path:
    return rig.config.storage.state_dir


def test_the_slots_follow_the_camera_and_the_old_reference_stays(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = settled(rig, pushed())
    found = carry_out(rig, daemon, pushed()).outcome()
    assert found is not None and found["slots"] == 4 and int(str(found["inliers"])) >= 40
    layout = read_layout(Path(str(found["layout"])))
    for slot, before in zip(layout.slots, read_layout(rig.config.cameras[0].layout).slots, strict=True):
        assert (slot.id, slot.sku) == (before.id, before.sku)
        moved = np.array(slot.polygon) - np.array(before.polygon)
        assert float(np.abs(moved - (6, 4)).max()) < 1.0
    assert rig.voice.events[-1].now == "recommissioned"
    assert Mounting(tmp_state(rig), "a", rig.config.cameras[0].layout).in_force() == layout.path
    daemon.close()


@pytest.mark.parametrize("what", ["dark", "another shelf", "out of view", "person"])
def test_what_is_not_certain_is_refused_and_nothing_changes(tmp_path: Path, what: str) -> None:
    rig = Rig(tmp_path)
    daemon = settled(rig, shelf_picture())
    pixels = {
        "dark": np.full_like(shelf_picture(), 2),
        "another shelf": shelf_picture(7),
        "out of view": pushed(120, 0),
        "person": with_person(),
    }[what]
    with pytest.raises(Refused, match=f"good frames in {LIMIT_S:.0f} s"):
        carry_out(rig, daemon, pixels, 6.0).outcome()
    assert not (tmp_state(rig) / "layouts" / "a" / POINTER).exists()
    daemon.close()


def test_slots_that_something_stands_in_front_of_are_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = settled(rig, shelf_picture())
    station = daemon.roster.stations["a"]
    outcome, slots = station.outcome, station.parts.layout.slots
    assert outcome is not None and trouble_of(outcome, slots, None) == ""
    first, *others = outcome.readings
    covered = replace(outcome, readings=(replace(first, state=State.BLOCKED), *others))
    assert "in front of s0" in trouble_of(covered, slots, None)
    unsure = replace(outcome, readings=tuple(replace(one, state=State.UNKNOWN) for one in outcome.readings))
    assert "0 of 4" in trouble_of(unsure, slots, None)
    daemon.close()


def test_a_camera_that_sways_gets_no_reference(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = settled(rig, shelf_picture())
    job = Recommission(tmp_state(rig), daemon.roster.stations["a"], "for the test", rig.clock)
    fault: EdgeError | None = None
    for turn in range(120):
        rig.turns(daemon, 1, pushed(12, 0) if turn // 3 % 2 else shelf_picture(), 1.0)
        if job.attend(daemon):
            break
    try:
        job.outcome()
    except EdgeError as raised:
        fault = raised
    assert isinstance(fault, Refused)
    daemon.close()


def with_person() -> Image:
    picture = shelf_picture().copy()
    picture[30:240, 90:220] = (40, 60, 80)
    return picture
