"""Settings from afar: on trial first, kept or taken back, and never lost or half there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from edge_runtime.config import CameraConfig, DeviceConfig, ModelConfig, StorageConfig, TelemetryConfig, ViewConfig
from edge_runtime.daemon.overlay import FILE, Overlay
from edge_runtime.daemon.settings_trial import LIMIT_S, WATCH_S, SettingsTrial, new_troubles
from edge_runtime.errors import EdgeError, Refused, TryAgain
from edge_runtime.telemetry.builders import Health
from tests.daemon.rig import MemoryClock, Rig, shelf_picture

SET: Mapping[str, float] = {"telemetry.interval_s": 30.0}


def written(folder: Path) -> DeviceConfig:
    cameras = (CameraConfig("a", "x", folder / "l.json", 1.0),)
    storage, view = StorageConfig(folder), ViewConfig(enabled=False)
    return DeviceConfig(folder / "d.toml", "d", "s", cameras, ModelConfig(), None, TelemetryConfig(), storage, view)


def test_what_proved_itself_holds_over_a_restart(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    ticket = overlay.propose(SET, written(tmp_path), "command c1")
    assert overlay.generation == 1 and overlay.in_force == SET and ticket.outcome() is None
    overlay.prove()
    assert ticket.outcome() == SET and overlay.generation == 1
    again = Overlay(tmp_path)
    assert again.in_force == SET and again.trouble == "" and again.conclude("command c1") == SET
    config, troubles = again.over(written(tmp_path))
    assert config.telemetry.interval_s == 30.0 and troubles == ()
    with pytest.raises(TryAgain):
        again.conclude("command c2")


def test_what_was_on_trial_when_the_process_ended_is_gone_and_told(tmp_path: Path) -> None:
    first = Overlay(tmp_path)
    first.propose(SET, written(tmp_path), "command c1")
    first.prove()
    first.propose({"telemetry.interval_s": 60.0, "log.level": "debug"}, written(tmp_path), "command c2")
    again = Overlay(tmp_path)
    assert again.in_force == SET and "log.level = debug" in again.trouble
    with pytest.raises(TryAgain, match="taken back"):
        again.conclude("command c2")
    assert Overlay(tmp_path).trouble == ""


def test_what_is_taken_back_leaves_what_was_before(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    ticket = overlay.propose(SET, written(tmp_path), "c")
    overlay.take_back("the camera was lost")
    assert overlay.in_force == {} and overlay.generation == 2
    with pytest.raises(TryAgain, match="the camera was lost"):
        ticket.outcome()
    assert Overlay(tmp_path).trouble == ""


def test_null_takes_a_key_back_and_nothing_new_needs_no_trial(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    overlay.propose(SET | {"log.level": "debug"}, written(tmp_path), "c")
    with pytest.raises(TryAgain, match="on trial"):
        overlay.propose(SET, written(tmp_path), "c")
    overlay.prove()
    assert overlay.propose(SET, written(tmp_path), "c").outcome() is not None and overlay.trial is None
    overlay.propose({"log.level": None, "telemetry.heartbeat_s": None}, written(tmp_path), "c")
    overlay.prove()
    assert Overlay(tmp_path).in_force == SET


@pytest.mark.parametrize("changes", [{}, {"mqtt.url": "x"}, {"telemetry.interval_s": 0}, {"camera.b.interval_s": 3}])
def test_what_may_not_be_set_changes_nothing(tmp_path: Path, changes: dict[str, float]) -> None:
    overlay = Overlay(tmp_path)
    with pytest.raises(Refused):
        overlay.propose(changes, written(tmp_path), "c")
    assert overlay.generation == 0 and not (tmp_path / FILE).exists()


def test_a_disk_that_fails_is_told_and_nothing_is_in_force(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path / "file" / "state")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TryAgain, match="can not be kept"):
        overlay.propose(SET, written(tmp_path), "c")
    assert overlay.in_force == {} and overlay.generation == 0


def test_settings_that_are_lost_are_told_until_others_are_set(tmp_path: Path) -> None:
    """One of them may have been that no pictures are shown."""
    first = Overlay(tmp_path)
    first.propose(SET, written(tmp_path), "c")
    first.prove()
    whole = (tmp_path / FILE).read_bytes()
    for damaged in (b"", b"\x00" * len(whole), whole[:-9]):
        (tmp_path / FILE).write_bytes(damaged)
        for _ in range(2):
            again = Overlay(tmp_path)
            assert again.in_force == {} and "set them again" in again.trouble
    again.propose(SET, written(tmp_path), "d")
    again.prove()
    assert again.trouble == Overlay(tmp_path).trouble == ""


def test_a_key_that_does_not_fit_an_edited_file_is_left_out_and_told(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    overlay.propose({"camera.a.interval_s": 9, "log.level": "debug"}, written(tmp_path), "c")
    overlay.prove()
    edited = replace(written(tmp_path), cameras=(CameraConfig("b", "x", tmp_path / "l.json", 1.0),))
    config, troubles = overlay.over(edited)
    assert config.log_level == "debug" and len(troubles) == 1 and "left out" in troubles[0]


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_a_file_that_is_anything_else_is_passed_over(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / FILE).write_bytes(raw)
    assert Overlay(folder).in_force == {}


_steps = st.lists(
    st.tuples(st.sampled_from(["propose", "prove", "take_back", "restart"]), st.integers(5, 99)), max_size=12
)


@given(_steps)
@settings(max_examples=60, deadline=None)
def test_a_restart_never_finds_what_had_not_proved_itself(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    overlay, proven, trial = Overlay(folder), None, None
    for step, value in steps:
        if step == "propose":
            try:
                overlay.propose({"telemetry.interval_s": value}, written(folder), "c")
                trial = value if value != proven else None
            except EdgeError:
                assert trial is not None
        elif step == "prove":
            overlay.prove()
            proven, trial = (trial, None) if trial is not None else (proven, None)
        elif step == "take_back":
            overlay.take_back("for the test")
            trial = None
        else:
            overlay, trial = Overlay(folder), None
        wanted = trial if trial is not None else proven
        assert overlay.in_force.get("telemetry.interval_s") == wanted


def health(*reasons: str, state: str = "") -> Health:
    return Health(state or ("degraded" if reasons else "ok"), reasons)


def trial_of(tmp_path: Path, *before: str) -> tuple[Overlay, MemoryClock, SettingsTrial]:
    overlay, clock = Overlay(tmp_path), MemoryClock()
    overlay.propose(SET, written(tmp_path), "c", before)
    return overlay, clock, SettingsTrial(overlay, clock)


def test_settings_stay_once_the_device_was_well_for_a_while(tmp_path: Path) -> None:
    overlay, clock, trial = trial_of(tmp_path)
    trial.attend(health)
    clock.now += WATCH_S - 0.1
    trial.attend(health)
    assert overlay.trial is not None
    clock.now += 0.2
    trial.attend(health)
    assert overlay.trial is None and overlay.in_force == SET and not trial.stale


def test_settings_go_when_the_device_does_not_come_up_or_is_worse_than_before(tmp_path: Path) -> None:
    for name, now in (("x", health(state="starting")), ("y", health("camera a: no picture"))):
        overlay, clock, trial = trial_of(tmp_path / name)
        clock.now += LIMIT_S - 1
        trial.attend(lambda now=now: now)
        assert overlay.trial is not None
        clock.now += 2
        trial.attend(lambda now=now: now)
        assert overlay.trial is None and overlay.in_force == {} and trial.stale


def test_what_was_wrong_before_is_not_held_against_the_settings(tmp_path: Path) -> None:
    overlay, clock, trial = trial_of(tmp_path, "broker: it is away since 10:00", "camera b: no picture")
    clock.now += WATCH_S + 1
    trial.attend(lambda: health("broker: it is away since 11:00", "camera b: dark"))
    assert overlay.in_force == SET and overlay.trial is None
    assert new_troubles(("camera a: dark",), ("camera b: dark", "safe mode: no model runs")) == (
        "camera b: dark",
        "safe mode: no model runs",
    )


def test_a_daemon_takes_back_what_its_camera_does_not_survive(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    daemon = rig.daemon()
    daemon.open()
    rig.turns(daemon, 3, shelf_picture())
    ticket = daemon.change_settings({"camera.a.interval_s": 5.0}, "command c1")
    overlay = daemon.parts.overlay
    daemon.close(going_on=True)

    under = Rig(tmp_path, boot="boot").daemon()
    under = type(under)(replace_parts(under.parts, overlay), rig.clock)
    under.open()
    rig.turns(under, 60, None)  # no picture any more
    with pytest.raises(TryAgain, match="taken back"):
        ticket.outcome()
    under.close()


def replace_parts(parts, overlay):
    return replace(parts, overlay=overlay)
