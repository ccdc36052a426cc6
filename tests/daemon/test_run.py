"""The daemon as the people around it see it: what it says when something breaks, and that everything else goes on."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest

from edge_runtime.daemon.parts import Orders
from edge_runtime.daemon.run import Daemon
from edge_runtime.daemon.status_file import read_status
from edge_runtime.errors import BadConfig, Refused
from edge_runtime.pipeline import Pipeline
from edge_runtime.records import Frame, Scores, State, Unusable, View
from tests.daemon.rig import Report, Rig, Status, shelf_picture, write_shelf
from tests.lifecycle.bundles import make_bundle

GOOD = shelf_picture()


def opened(rig: Rig) -> Daemon:
    """A daemon that has begun and whose loop the test turns by hand."""
    daemon = rig.daemon()
    daemon.open()
    return daemon


def test_all_is_well(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    daemon = opened(rig)
    assert daemon.health().state == "starting"
    rig.turns(daemon, 4, GOOD)
    health = daemon.health()
    assert (health.state, health.reasons) == ("ok", ())
    assert health.model is not None and health.model.version == "1.0.0"
    assert {s.state for s in rig.roster.stations["a"].outcome.statuses} == {State.STOCKED}  # type: ignore[union-attr]
    record = read_status(rig.config.storage.state_dir)
    assert record.state == "ok" and [camera.name for camera in record.cameras] == ["a", "b"]
    assert [slot.state for slot in record.cameras[0].slots] == [State.STOCKED] * 4


def test_a_camera_without_a_layout_is_reported_and_mended_without_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    (tmp_path / "b" / "layout.json").write_text("{}")
    daemon = opened(rig)
    rig.turns(daemon, 3, GOOD)
    assert list(rig.roster.stations) == ["a"]
    (reason,) = daemon.health().reasons
    assert reason.startswith("camera b:") and "shelf-layout/1" in reason
    assert read_status(rig.config.storage.state_dir).cameras[1].state == "broken"
    write_shelf(tmp_path / "b")
    rig.turns(daemon, 10, GOOD)
    assert daemon.health().state == "ok"


@pytest.mark.parametrize("damage", ["missing", "other size", "not a picture"])
def test_a_reference_that_can_not_be_used_is_one_cameras_fault(tmp_path: Path, damage: str) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    reference = tmp_path / "b" / "reference.png"
    reference.unlink()
    if damage == "other size":
        cv2.imwrite(str(reference), np.zeros((48, 64, 3), np.uint8))
    elif damage == "not a picture":
        reference.write_bytes(b"no picture")
    daemon = opened(rig)
    rig.turns(daemon, 3, GOOD)
    assert daemon.health().state == "degraded" and "b" in rig.roster.broken
    assert rig.roster.stations["a"].frames == 3


def test_a_camera_that_goes_silent_makes_its_slots_unknown_and_the_others_go_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    daemon = opened(rig)
    rig.turns(daemon, 4, GOOD)
    rig.cameras["b"].report = Report(Status.LOST, "connection refused. Check the address")
    for _ in range(12):
        rig.clock.now += 5
        rig.cameras["a"].show(GOOD)
        daemon.turn()
    outcome = rig.roster.stations["b"].outcome
    assert outcome is not None
    assert {(s.state, s.reason) for s in outcome.statuses} == {(State.UNKNOWN, "no_camera")}
    assert [e.now for e in outcome.events] == [] and daemon.health().cameras["b"].state == "lost"
    assert "connection refused" in daemon.health().reasons[0]
    assert rig.roster.stations["a"].outcome.statuses[0].state is State.STOCKED  # type: ignore[union-attr]
    rig.cameras["b"].report = Report()
    rig.turns(daemon, 3, GOOD)
    assert daemon.health().state == "ok"
    assert rig.roster.stations["b"].outcome.statuses[0].state is State.STOCKED  # type: ignore[union-attr]


@pytest.mark.parametrize("fault", ["late_nan", "golden_off", "nan", "wrong_shape", "crash", "garbage"])
def test_a_model_that_misbehaves_gives_way_to_the_one_before(tmp_path: Path, fault: str) -> None:
    rig = Rig(tmp_path, ("a", "b"), ("good", fault))
    daemon = opened(rig)
    rig.turns(daemon, 5, GOOD)
    health = daemon.health()
    assert health.model is not None and health.model.version == "1.0.0"
    assert health.state == "degraded" and health.reasons
    assert [event.kind for event in rig.voice.events] == ["model"]
    assert rig.voice.events[0].now == "1.0.0"
    assert {s.state for s in rig.roster.stations["b"].outcome.statuses} == {State.STOCKED}  # type: ignore[union-attr]
    assert {entry.status for entry in rig.store.list() if entry.version == "1.1.0"} == {"quarantined"}


def test_a_model_that_was_activated_meanwhile_stays_when_the_running_one_fails(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a",), ("good", "late_nan"))
    daemon = opened(rig)
    newer = make_bundle(tmp_path / "shelf-test-2.0.0.zip", "2.0.0")
    rig.store.activate(rig.store.install(newer))
    rig.turns(daemon, 3, GOOD)
    assert daemon.health().model.version == "2.0.0"  # type: ignore[union-attr]
    assert {entry.status for entry in rig.store.list() if entry.version == "1.1.0"} == {"quarantined"}


def test_with_every_model_gone_it_goes_on_in_safe_mode(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a",), ("garbage", "late_nan"))
    daemon = opened(rig)
    rig.turns(daemon, 8, GOOD)
    health = daemon.health()
    assert health.model is None and "safe mode" in health.reasons[0]
    outcome = rig.roster.stations["a"].outcome
    assert outcome is not None and {s.state for s in outcome.statuses} == {State.UNKNOWN}
    assert {r.reason for r in outcome.readings} == {"no_model"}
    assert rig.roster.stations["a"].frames >= 7


def test_without_any_bundle_it_starts_in_safe_mode(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a",), ())
    daemon = opened(rig)
    rig.turns(daemon, 2, GOOD)
    assert daemon.health().reasons == ("safe mode: no model runs", "no bundle is installed")


def test_three_crashes_in_a_row_fall_back_to_the_previous_model(tmp_path: Path) -> None:
    versions = []
    for _ in range(4):
        rig = Rig(tmp_path, ("a",), ("good", "good"))
        daemon = opened(rig)
        rig.turns(daemon, 2, GOOD)
        assert daemon.health().model is not None
        versions.append(daemon.health().model.version)  # type: ignore[union-attr]
    assert versions == ["1.1.0"] * 3 + ["1.0.0"]
    assert any("starts within" in reason for reason in daemon.health().reasons)


def test_starts_that_were_followed_by_a_clean_stop_or_by_good_frames_and_a_power_cut_are_no_crashes(
    tmp_path: Path,
) -> None:
    for number, clean in enumerate((True, False) * 4):
        rig = Rig(tmp_path, ("a",), ("good", "good"), boot=f"boot {number}")
        daemon = opened(rig)
        rig.turns(daemon, 1 if clean else 4, GOOD)
        if clean:
            daemon.close()
        assert daemon.health().model.version == "1.1.0"  # type: ignore[union-attr]


def test_an_operators_rollback_is_told_and_can_be_taken_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a",), ("good", "good"))
    daemon = opened(rig)
    rig.turns(daemon, 3, GOOD)
    daemon.change_model(lambda stations: rig.deck.roll_back("asked for", stations), "asked for")
    rig.turns(daemon, 2, GOOD)
    assert daemon.health().model.version == "1.0.0"  # type: ignore[union-attr]
    assert (rig.voice.events[-1].was, rig.voice.events[-1].now) == ("1.1.0", "1.0.0")
    assert rig.voice.events[-1].detail["phase"] == "rolled_back"
    daemon.change_model(lambda stations: rig.deck.roll_back("again", stations), "again")
    assert daemon.health().model.version == "1.1.0"  # type: ignore[union-attr]
    assert daemon.health().state == "ok"


def test_an_operators_rollback_without_another_model_is_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = opened(rig)
    with pytest.raises(Refused):
        daemon.change_model(lambda stations: rig.deck.roll_back("asked for", stations), "asked for")
    assert rig.voice.events == [] and daemon.health().model is not None


def test_what_the_broker_or_the_view_lack_is_a_reason_not_an_end(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.voice.faults = ("broker: it is not there",)
    daemon = rig.daemon(troubles=("view: the port is taken",))
    daemon.open()
    rig.turns(daemon, 3, GOOD)
    assert daemon.health().state == "degraded"
    assert daemon.health().reasons == ("view: the port is taken", "broker: it is not there")
    assert rig.roster.stations["a"].outcome.scores is not None  # type: ignore[union-attr]


def test_a_disk_that_can_not_be_written_is_a_reason_and_inference_goes_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a",), ("good", "late_nan"))
    (tmp_path / "state").write_text("a file stands where the state folder should be")
    daemon = opened(rig)
    rig.turns(daemon, 4, GOOD)
    health = daemon.health()
    assert any(reason.startswith("storage:") for reason in health.reasons)
    assert health.model is not None and health.model.version == "1.0.0", "the fall-back holds in memory"
    assert rig.roster.stations["a"].outcome.scores is not None  # type: ignore[union-attr]


def test_a_dark_camera_is_unusable_and_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = opened(rig)
    rig.turns(daemon, 3, GOOD)
    rig.turns(daemon, 6, np.zeros_like(GOOD))
    assert daemon.health().cameras["a"].state == "unusable"
    assert {s.state for s in rig.roster.stations["a"].outcome.statuses} == {State.UNKNOWN}  # type: ignore[union-attr]


class Broken:
    """A normalizer that fails on every picture."""

    reference_crops = np.zeros((4, 64, 64, 3), np.uint8)

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault or cv2.error("OpenCV: assertion failed")

    def normalize(self, frame: Frame) -> View:
        raise self.fault


def test_frames_that_can_not_be_worked_are_one_cameras_fault_and_are_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    daemon = opened(rig)
    rig.turns(daemon, 3, GOOD)
    pipeline = rig.roster.stations["b"].parts.pipeline
    whole, model = pipeline.normalizer, pipeline.model
    pipeline.replace(Broken(), model)
    rig.turns(daemon, 2, GOOD)
    assert daemon.health().cameras["a"].state == "ok" and daemon.health().cameras["b"].state == "unusable"
    assert "assertion failed" in daemon.health().reasons[0]
    pipeline.replace(whole, model)
    rig.turns(daemon, 1, GOOD)
    assert daemon.health().state == "ok"


@pytest.mark.parametrize("fault", [cv2.error("OpenCV: assertion failed"), Refused("not a picture of this camera")])
def test_a_camera_whose_every_frame_fails_does_not_keep_its_old_slot_states(tmp_path: Path, fault: Exception) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    daemon = opened(rig)
    rig.turns(daemon, 4, GOOD)
    station = rig.roster.stations["b"]
    seen = station.outcome
    assert seen is not None
    pipeline = station.parts.pipeline
    whole, model = pipeline.normalizer, pipeline.model
    pipeline.replace(Broken(fault), model)
    told = []
    for n in range(5):
        rig.turns(daemon, 1, GOOD)
        assert station.outcome is not None
        told += [(event.kind, event.now) for event in station.outcome.events]
        if n == 0:
            assert {s.state for s in station.outcome.statuses} == {State.STOCKED}, "one frame may fail"
    assert {(s.state, s.reason) for s in station.outcome.statuses} == {(State.UNKNOWN, "failed")}
    assert told == [("camera", "failed")]
    assert daemon.health().cameras["b"].state == "unusable"
    assert daemon.health().reasons == (f"camera b: a frame was left out: {fault}",)
    assert {s.state for s in rig.roster.stations["a"].outcome.statuses} == {State.STOCKED}  # type: ignore[union-attr]
    pipeline.replace(whole, model)
    rig.turns(daemon, 3, GOOD)
    assert [(s.state, s.since) for s in station.outcome.statuses] == [(s.state, s.since) for s in seen.statuses]
    assert daemon.health().state == "ok"


def test_a_shelf_that_fails_too_is_told_and_the_other_cameras_go_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path, ("a", "b"))
    daemon = opened(rig)
    rig.turns(daemon, 2, GOOD)

    class Failing:
        def observe(self, view: View | Unusable, scores: Scores | None) -> NoReturn:
            raise Refused("the shelf can not take this")

    parts = rig.roster.stations["b"].parts
    pipeline = Pipeline(parts.pipeline.normalizer, parts.pipeline.model, Failing())
    rig.roster.stations["b"].parts = replace(parts, pipeline=pipeline)
    rig.turns(daemon, 2, GOOD)
    assert daemon.health().cameras["b"].state == "unusable"
    assert "can not take this" in daemon.health().reasons[0]
    assert rig.roster.stations["a"].frames == 4


def test_stopping_is_clean_and_the_last_status_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon, orders = rig.daemon(), Orders()
    results: list[object] = []
    loop = threading.Thread(target=lambda: results.append(daemon.run(orders)))
    loop.start()
    orders.stop()
    loop.join(20)
    assert not loop.is_alive() and results == [None]
    assert rig.cameras["a"].started and rig.cameras["a"].stopped and rig.voice.closed
    assert read_status(rig.config.storage.state_dir).state == "stopped"
    assert rig.voice.healths[-1].state == "stopping"


def test_a_bad_configuration_on_reload_keeps_the_old_one_and_is_reported(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon, orders = rig.daemon(), Orders()
    orders.reload()
    loop = threading.Thread(target=daemon.run, args=(orders,))
    loop.start()
    for _ in range(200):
        if not orders.reloading.is_set() and any("not taken over" in r for r in daemon.health().reasons):
            break
        threading.Event().wait(0.05)
    reasons = daemon.health().reasons
    orders.stop()
    loop.join(20)
    assert any("not taken over" in reason and "device.toml:3" in reason for reason in reasons)


def test_a_good_configuration_on_reload_ends_this_run_with_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.next_config = rig.config
    orders = Orders()
    orders.reload()
    assert rig.daemon().run(orders) is rig.config
    assert rig.voice.closed and not orders.stopping.is_set()


def test_bad_config_keeps_its_faults() -> None:
    assert BadConfig("x", faults=("a", "b")).faults == ("a", "b")
