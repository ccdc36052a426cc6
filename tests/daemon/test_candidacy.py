"""A new model on the running device: beside the current one, in its place under watch, kept or taken back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.daemon.desk import Desk
from edge_runtime.daemon.model_account import candidate_line
from edge_runtime.daemon.run import Daemon
from edge_runtime.daemon.sentry import Sentry
from edge_runtime.daemon.terms import Terms, write_terms
from edge_runtime.errors import Refused
from edge_runtime.fleet.command_queue import CommandQueue
from edge_runtime.fleet.commands import CommandGate
from edge_runtime.fleet.floors import CommandFloors
from edge_runtime.fleet.journal import CommandJournal
from edge_runtime.fleet.openers import AcceptUnsigned
from edge_runtime.lifecycle.store import ModelStore
from edge_runtime.normalize.view import Normalizer
from edge_runtime.records import CropSpec, ModelId, State, View
from edge_runtime.telemetry.builders import Stamp
from edge_runtime.telemetry.topics import Topics
from tests.daemon.rig import QUICK, Rig, shelf_picture
from tests.fleet.memory_broker import MemoryBroker, MemoryLink
from tests.lifecycle.bundles import golden, make_bundle

GOOD = shelf_picture()
NOTHING_LOST = "a frame that a camera showed was not concluded"


def wrong_golden() -> bytes:
    """Golden answers of a model that calls everything empty: packed, signed and proved without a complaint."""
    buffer, parts = io.BytesIO(), golden()
    parts["logits"] = np.tile(np.array([0, 0, 8, -8], np.float32), (8, 1))
    np.savez_compressed(buffer, **parts)  # type: ignore[arg-type]
    return buffer.getvalue()


class Life:
    """A rig whose store is changed by another process, as `edge-runtime model` does it; every frame is counted."""

    def __init__(self, folder: Path, cameras: tuple[str, ...] = ("a",), terms: Terms | None = None) -> None:
        self.rig = Rig(folder, cameras, terms=terms or Terms(0.0, 30.0, 4))
        self.daemon: Daemon = self.rig.daemon()
        self.daemon.open()
        self.shown = 0
        self.rig.turns(self.daemon, 3, GOOD)
        self.shown += 3

    def bring(self, behaviour: str, version: str = "2.0.0") -> ModelId:
        """Install a bundle, from outside. One that is always empty comes with golden answers that say so too."""
        members = {"golden.npz": wrong_golden()} if behaviour == "always_empty" else None
        bundle = make_bundle(self.rig.folder / f"shelf-test-{version}.zip", version, behaviour, members=members)
        return self.outside.install(bundle)

    @property
    def outside(self) -> ModelStore:
        return ModelStore(
            self.rig.folder / "state", self.rig.make_bundles(("good",)), self.rig.boot, allow_unsigned=True
        )

    def until(self, holds: Callable[[], bool], frames: int = 60) -> None:
        """Let frames go by until it holds; a model that is being loaded gets the time that it needs."""
        for _ in range(frames):
            if holds():
                return
            self.rig.turns(self.daemon, 1, GOOD)
            self.shown += 1
            ends = time.monotonic() + 10
            while self.rig.candidacy.busy and time.monotonic() < ends:
                time.sleep(0.005)
                self.daemon.turn()
        raise AssertionError(f"it never came to that: {self.phases} {self.rig.deck.id} {self.rig.deck.trouble}")

    @property
    def running(self) -> str:
        return self.rig.deck.id.version if self.rig.deck.id else "none"

    @property
    def phases(self) -> list[tuple[str, str]]:
        """(version that runs, phase of the step) of the model events so far."""
        return [(event.now, str((event.detail or {}).get("phase", ""))) for event in self.rig.voice.events]

    @property
    def reason(self) -> str:
        """Of the newest event."""
        return str((self.rig.voice.events[-1].detail or {})["reason"])

    def status_of(self, version: str) -> str:
        return next(entry.status for entry in self.outside.list() if entry.version == version)

    def check_frames(self) -> None:
        for station in self.rig.roster.stations.values():
            assert station.frames == self.shown, NOTHING_LOST
            assert station.outcome is not None
            assert {s.state for s in station.outcome.statuses} == {State.STOCKED}


def test_a_good_model_is_tried_and_kept_and_no_frame_is_lost(tmp_path: Path) -> None:
    life = Life(tmp_path, ("a", "b"))
    life.outside.try_out(life.bring("good"), "asked for")
    life.until(lambda: life.running == "2.0.0")
    assert life.rig.candidacy.beside is not None and life.rig.candidacy.beside.id.version == "1.0.0"
    life.until(lambda: life.rig.store.candidate is None)
    life.until(lambda: life.rig.candidacy.beside is None)
    assert life.running == "2.0.0" and life.status_of("2.0.0") == "current"
    assert life.phases == [("2.0.0", "trial"), ("2.0.0", "committed")]
    assert candidate_line(life.rig.candidacy) is None
    life.check_frames()


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("late_nan", "NaN"),
        ("always_empty", "of the answers are empty"),
        ("crash", "failed while running"),
        ("nan", "NaN"),
        ("wrong_shape", ""),
        ("garbage", ""),
        ("golden_off", "golden"),
    ],
)
def test_fault_12_a_bad_model_gives_way_to_the_one_before_and_never_runs_again(
    tmp_path: Path, behaviour: str, told: str
) -> None:
    life = Life(tmp_path)
    model = life.bring(behaviour)
    life.outside.try_out(model)
    life.until(lambda: life.status_of("2.0.0") == "quarantined")
    assert life.running == "1.0.0" and life.rig.store.candidate is None
    assert told in life.reason
    life.until(lambda: not life.rig.candidacy._asked)
    after = life.shown
    life.rig.turns(life.daemon, 4, GOOD)
    life.shown += 4
    outcome = life.rig.roster.stations["a"].outcome
    assert outcome is not None and outcome.scores is not None and outcome.scores.model.version == "1.0.0"
    assert life.rig.roster.stations["a"].frames == after + 4
    again = Rig(tmp_path)
    again.daemon().open()
    assert again.deck.id is not None and again.deck.id.version == "1.0.0", "survives a restart"


def test_fault_12_a_model_that_is_too_slow_for_the_device_gives_way(tmp_path: Path) -> None:
    life = Life(tmp_path)
    hasty = replace(QUICK, rules=replace(QUICK.rules, max_infer_ms=30.0))
    life.rig.candidacy.sentry = Sentry(hasty)
    life.outside.try_out(life.bring("slow"))
    life.until(lambda: life.status_of("2.0.0") == "quarantined")
    assert life.running == "1.0.0" and "p95 of inference" in life.reason


def test_fault_12_the_fall_back_takes_no_longer_than_a_frame(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.outside.try_out(life.bring("late_nan"))
    life.until(lambda: life.running == "2.0.0")
    life.rig.turns(life.daemon, 1, GOOD)
    assert life.running == "1.0.0", "the first NaN ends the trial, and the model before is still in memory"


def test_beside_the_current_model_then_in_trial_then_kept(tmp_path: Path) -> None:
    life = Life(tmp_path, ("a", "b"), Terms(40.0, 30.0, 4))
    life.outside.shadow(life.bring("good"), "pilot")
    life.until(lambda: life.rig.candidacy.beside is not None)
    assert life.running == "1.0.0", "a model in its shadow run decides nothing"
    life.rig.turns(life.daemon, 2, GOOD)
    life.shown += 2
    standing = candidate_line(life.rig.candidacy)
    assert standing is not None and standing.phase == "shadow"
    assert standing.agreement == 1.0 and standing.frames >= 2 and 0 < standing.left_s < 40
    life.until(lambda: life.running == "2.0.0")
    life.until(lambda: life.rig.store.candidate is None)
    assert [phase for _, phase in life.phases] == ["shadow", "trial", "committed"]
    assert "agrees with the current model on 100.0%" in str((life.rig.voice.events[1].detail or {})["reason"])
    life.check_frames()


def test_a_model_that_disagrees_in_its_shadow_run_is_not_tried(tmp_path: Path) -> None:
    life = Life(tmp_path, terms=Terms(40.0, 30.0, 4))
    life.outside.shadow(life.bring("always_empty"))
    life.until(lambda: life.rig.store.candidate is not None and life.rig.candidacy.beside is not None)
    life.until(lambda: life.rig.store.candidate is None)
    assert life.running == "1.0.0" and life.status_of("2.0.0") == "staged"
    assert life.phases[-1] == ("1.0.0", "rolled_back") and "0.0%" in life.reason
    life.check_frames()


def test_a_model_that_fails_in_its_shadow_run_is_barred_and_nobody_notices_in_the_store(tmp_path: Path) -> None:
    life = Life(tmp_path, terms=Terms(40.0, 30.0, 4))
    life.outside.shadow(life.bring("late_nan"))
    life.until(lambda: life.status_of("2.0.0") == "quarantined")
    assert life.running == "1.0.0" and "NaN" in life.reason
    life.check_frames()


def test_another_models_crops_do_not_cost_the_registration(tmp_path: Path) -> None:
    life = Life(tmp_path)
    station = life.rig.roster.stations["a"]
    before = station.parts.pipeline.normalizer
    bundle = make_bundle(tmp_path / "wide.zip", "3.0.0", change=lambda m: replace_input(m, margin=0.3))
    life.outside.try_out(life.outside.install(bundle))
    life.until(lambda: life.running == "3.0.0")
    after = station.parts.pipeline.normalizer
    assert isinstance(after, Normalizer) and after is not before and after.crop == CropSpec((64, 64), 0.3)
    life.rig.turns(life.daemon, 1, GOOD)
    outcome = station.outcome
    assert outcome is not None and isinstance(outcome.view, View)
    assert outcome.view.registration.detail == "still", "nothing was registered anew"
    assert life.rig.candidacy.beside is not None and life.rig.candidacy.beside.report().frames >= 1


def replace_input(manifest, **changes):  # type: ignore[no-untyped-def]
    import msgspec

    return msgspec.structs.replace(manifest, input=msgspec.structs.replace(manifest.input, **changes))


def test_a_trial_goes_on_after_a_restart_with_the_model_before_beside_it(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.outside.try_out(life.bring("good"))
    life.until(lambda: life.running == "2.0.0")
    life.daemon.close()
    again = Life(tmp_path)
    assert again.running == "2.0.0"
    again.until(lambda: again.rig.candidacy.beside is not None)
    assert again.rig.candidacy.beside is not None and again.rig.candidacy.beside.id.version == "1.0.0"
    again.until(lambda: again.rig.store.candidate is None)
    assert again.status_of("2.0.0") == "current"


def test_fault_13_three_crashes_in_a_trial_bring_the_model_before_back(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.outside.try_out(life.bring("good"))
    life.until(lambda: life.running == "2.0.0")
    versions = []
    for _ in range(3):  # the process that switched to it was the first to die
        again = Life(tmp_path)
        versions.append(again.running)
    assert versions == ["2.0.0", "2.0.0", "1.0.0"]
    assert again.status_of("2.0.0") == "quarantined"
    assert any("ended in a crash" in reason for reason in again.daemon.health().reasons)


def test_fault_13_three_crashes_in_a_shadow_run_are_held_against_the_newcomer(tmp_path: Path) -> None:
    first = Life(tmp_path, terms=Terms(1e6, 30.0, 4))
    first.outside.shadow(first.bring("good"))
    first.until(lambda: first.rig.candidacy.beside is not None)
    for _ in range(3):
        again = Life(tmp_path, terms=Terms(1e6, 30.0, 4))
    assert again.running == "1.0.0" and again.status_of("2.0.0") == "quarantined"


def test_an_operators_rollback_ends_a_trial_without_barring_the_model(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.outside.try_out(life.bring("good"))
    life.until(lambda: life.running == "2.0.0")
    life.outside.rollback("second thoughts", quarantine=False)
    life.until(lambda: life.running == "1.0.0")
    assert life.status_of("2.0.0") == "staged" and life.rig.store.candidate is None
    told = life.rig.voice.events[-1].detail
    assert (told["phase"], told["reason"]) == ("rolled_back", "second thoughts")
    life.check_frames()


def test_an_operators_rollback_in_a_shadow_run_takes_the_candidate_and_leaves_the_current_model(tmp_path: Path) -> None:
    life = Life(tmp_path, terms=Terms(1e6, 30.0, 4))
    life.outside.shadow(life.bring("good"))
    life.until(lambda: life.rig.candidacy.beside is not None)
    deck = life.rig.deck
    life.daemon.change_model(lambda stations: deck.roll_back("second thoughts", stations), "second thoughts")
    assert life.running == "1.0.0" and life.status_of("2.0.0") == "staged" and life.rig.store.candidate is None
    event = life.rig.voice.events[-1]
    assert (event.was, event.now, event.detail["candidate"]) == ("1.0.0", "1.0.0", "2.0.0")
    assert (event.detail["phase"], event.detail["reason"]) == ("rolled_back", "second thoughts")
    life.until(lambda: life.rig.candidacy.beside is None)
    life.check_frames()


def test_a_person_may_end_the_trial_by_keeping_the_model(tmp_path: Path) -> None:
    life = Life(tmp_path, terms=Terms(0.0, 1e6, 1_000_000))
    model = life.bring("good")
    life.outside.try_out(model)
    life.until(lambda: life.running == "2.0.0")
    life.outside.commit(model.sha256, "looks good")
    life.until(lambda: life.rig.candidacy.sentry.trial is None)
    assert life.running == "2.0.0" and life.status_of("2.0.0") == "current"


def test_people_who_say_that_it_is_wrong_take_a_model_out(tmp_path: Path) -> None:
    life = Life(tmp_path, terms=Terms(0.0, 1e6, 1_000_000))
    life.outside.try_out(life.bring("good"))
    life.until(lambda: life.running == "2.0.0")
    stamp, link = Stamp(Topics("site", "dev"), 1), MemoryLink(MemoryBroker())
    gate = CommandGate(stamp.topics, frozenset(), AcceptUnsigned(), CommandFloors(None), CommandJournal(None))
    desk = Desk(lambda desk: CommandQueue(gate, stamp, link, {}), tmp_path)
    desk.attend(life.daemon)
    for label in range(40):
        if life.running != "2.0.0":
            break
        life.rig.turns(life.daemon, 1, GOOD)
        life.rig.candidacy._compared.clear()  # the model before did not see this picture
        said = desk.feedback("a", f"s{label % 4}", State.EMPTY)
        assert said is State.STOCKED
    assert life.running == "1.0.0" and "labelled slots" in life.reason
    with pytest.raises(Refused):
        desk.feedback("a", "nowhere", State.EMPTY)
    with pytest.raises(Refused):
        desk.feedback("b", "s0", State.EMPTY)


def test_terms_that_were_given_with_the_activation_count(tmp_path: Path) -> None:
    life = Life(tmp_path, terms=Terms(0.0, 1e6, 1_000_000))
    model = life.bring("good")
    write_terms(tmp_path / "state", model.sha256, Terms(0.0, 20.0, 4))
    life.outside.try_out(model)
    life.until(lambda: life.status_of("2.0.0") == "current")


def test_a_trial_survives_a_reload_of_the_configuration(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.outside.try_out(life.bring("good"))
    life.until(lambda: life.running == "2.0.0")
    watch, loaded = life.rig.candidacy.sentry.watch, life.rig.deck.loaded
    frames = watch.frames
    from edge_runtime.daemon.compose import build_daemon

    life.daemon.close()
    config = replace(life.rig.config, cameras=())
    again = build_daemon(config, before=life.daemon)
    assert again.parts.candidacy.sentry.watch is watch and watch.frames == frames
    again.open()
    assert again.deck.loaded is loaded, "nothing is loaded again"
    again.close()
