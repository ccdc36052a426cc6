"""Errands: one at a time, out of the inference loop's way, with their errors as they were; and the device's own updates."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_runtime.daemon.errand import Errand, Outcome, Place, attempt, open_desk
from edge_runtime.daemon.errand_runner import ErrandRunner, start_child
from edge_runtime.daemon.judgement import BARRED, TRIAL, WITHDRAWN, judge_shadow
from edge_runtime.daemon.shadow import ShadowReport
from edge_runtime.daemon.terms import Terms, read_terms, write_terms
from edge_runtime.daemon.updates import AutoUpdate
from edge_runtime.errors import EdgeError, ModelFault, Refused, TryAgain, Unavailable
from edge_runtime.records import State
from edge_runtime.telemetry.messages import Scalar
from tests.daemon.rig import MemoryClock


@dataclass
class MemoryJob:
    """Ends when the test says so."""

    end: dict[str, Scalar] | EdgeError | None = None
    abandoned: bool = False

    @property
    def ended(self) -> bool:
        return self.end is not None

    def outcome(self) -> dict[str, Scalar] | None:
        if isinstance(self.end, EdgeError):
            raise self.end
        return self.end

    def abandon(self) -> None:
        self.abandoned = True
        self.end = self.end or TryAgain("abandoned")


@dataclass
class MemoryStarter:
    jobs: list[MemoryJob] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)

    def __call__(self, errand: Errand) -> MemoryJob:
        self.errands.append(errand)
        self.jobs.append(MemoryJob())
        return self.jobs[-1]


def place(tmp_path: Path, **more: str) -> Place:
    return Place(str(tmp_path / "state"), "shelf-test", **more)


def test_one_errand_at_a_time(tmp_path: Path) -> None:
    starter = MemoryStarter()
    runner = ErrandRunner(starter)
    runner.send(Errand(place(tmp_path), "install"))
    with pytest.raises(TryAgain, match=r"busy with model\.install"):
        runner.send(Errand(place(tmp_path), "activate"))
    starter.jobs[0].end = Refused("no")
    runner.send(Errand(place(tmp_path), "activate"))
    runner.stop()
    assert starter.jobs[1].abandoned and not starter.jobs[0].abandoned and runner.doing == ""


@pytest.mark.parametrize("family", [Refused, Unavailable, TryAgain, ModelFault])
def test_an_error_comes_back_from_a_child_as_it_was(family: type[EdgeError]) -> None:
    with pytest.raises(family, match=r"found it\. mend it"):
        Outcome({}, family.__name__, "found it", "mend it").unwrap()


def test_a_child_does_the_errand_and_says_what_came_of_it(tmp_path: Path) -> None:
    job = start_child(Errand(place(tmp_path), "install"))
    ends = time.monotonic() + 60
    while not job.ended and time.monotonic() < ends:
        time.sleep(0.02)
    with pytest.raises(Unavailable, match="no model repository"):
        job.outcome()
    with pytest.raises(Unavailable):
        job.outcome()


def test_a_child_that_is_given_up_ends_at_once(tmp_path: Path) -> None:
    job = start_child(Errand(place(tmp_path), "install"))
    job.abandon()
    assert job.ended
    with pytest.raises(EdgeError):
        job.outcome()


def test_a_repository_without_its_root_file_is_named(tmp_path: Path) -> None:
    here = place(tmp_path, repository=str(tmp_path), root=str(tmp_path / "root.json"))
    outcome = attempt(Errand(here, "install"), open_desk(here))
    assert outcome.fault == "Unavailable" and "root.json" in outcome.found and outcome.mend


def test_the_device_looks_for_a_newer_model_now_and_then(tmp_path: Path) -> None:
    clock, starter = MemoryClock(), MemoryStarter()
    runner = ErrandRunner(starter)
    update = AutoUpdate(runner, Errand(place(tmp_path), "update"), 3600.0, clock)
    update.attend()
    assert starter.jobs == [], "the camera first"
    clock.now += 61
    update.attend()
    update.attend()
    assert len(starter.jobs) == 1
    starter.jobs[0].end = Unavailable("the repository does not answer")
    update.attend()
    assert "does not answer" in update.trouble
    clock.now += 3600
    update.attend()
    starter.jobs[1].end = {"name": "shelf-test", "version": "2.0.0", "phase": "shadow"}
    update.attend()
    assert len(starter.jobs) == 2 and update.trouble == ""


def test_a_device_that_is_busy_looks_again_later(tmp_path: Path) -> None:
    clock, starter = MemoryClock(), MemoryStarter()
    runner = ErrandRunner(starter)
    runner.send(Errand(place(tmp_path), "install"))
    update = AutoUpdate(runner, Errand(place(tmp_path), "update"), 100.0, clock)
    clock.now += 61
    update.attend()
    assert len(starter.jobs) == 1
    starter.jobs[0].end = {}
    clock.now += 100
    update.attend()
    assert len(starter.jobs) == 2


def test_terms_reach_another_process_and_damage_is_no_fault(tmp_path: Path) -> None:
    usual, own = Terms(), Terms(1.0, 2.0, 3)
    assert read_terms(tmp_path, "ab", usual) == usual
    write_terms(tmp_path, "ab", own)
    assert read_terms(tmp_path, "ab", usual) == own
    assert read_terms(tmp_path, "cd", usual) == usual, "those of another candidate"
    (tmp_path / "models" / "terms.json").write_bytes(b'{"sha256": "ab", "terms": {"trial_s": -1}}')
    assert read_terms(tmp_path, "ab", usual) == usual


@pytest.mark.parametrize(
    ("report", "gone_s", "step"),
    [
        (ShadowReport(frames=9, slots=90, agreed=90), 10.0, ""),
        (ShadowReport(frames=9, slots=10, agreed=10), 99.0, ""),
        (ShadowReport(frames=9, slots=90, agreed=81), 99.0, TRIAL),
        (ShadowReport(frames=9, slots=90, agreed=60), 99.0, WITHDRAWN),
        (ShadowReport(frames=99, slots=3, agreed=3, confusion={(State.STOCKED, State.UNKNOWN): 400}), 99.0, WITHDRAWN),
        (ShadowReport(frames=99, confusion={(State.UNKNOWN, State.UNKNOWN): 400}), 99.0, ""),
        (ShadowReport(fault="NaN"), 0.0, BARRED),
    ],
)
def test_what_follows_a_shadow_run(report: ShadowReport, gone_s: float, step: str) -> None:
    assert judge_shadow(report, gone_s, Terms(shadow_s=60.0))[0] == step
