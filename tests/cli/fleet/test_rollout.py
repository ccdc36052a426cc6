"""`fleet rollout` over a real broker with virtual devices: killed where something is half done, on this computer and continued on another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ..conftest import Run
from .conftest import DEVICES, Town

pytestmark = pytest.mark.integration
CLI = [sys.executable, "-m", "edge_runtime.cli", "fleet", "rollout"]
BRIEF = [
    "--rings", "canary=4,100%", "--soak", "3", "--settle", "60", "--patience", "40", "--grace", "20",
    "--gate", "latency_rise=off", "--gate", "accuracy_drop=0.1", "--gate", "unknown_rise=0.1",
]  # fmt: skip


class Carried:
    """A rollout's process, killed as soon as it tells of a phase that none before it has told of."""

    def __init__(self, folder: Path, *killed_in: str) -> None:
        """`killed_in`: only where one of these is in the name of the place."""
        self.folder, self.killed_in = folder, killed_in
        self.phases: list[str] = []

    def go(self, *arguments: str) -> int | None:
        """The exit code, or None if it was killed."""
        command = [*CLI, *arguments, "--fleet", str(self.folder), "--json"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        guard = threading.Timer(100.0, child.kill)
        guard.start()
        assert child.stdout is not None
        for line in child.stdout:
            said = json.loads(line)
            place = f"{said['ring']} {said['phase']}"
            if place not in self.phases and not said.get("summary"):
                self.phases.append(place)
                if any(part in place for part in self.killed_in):
                    child.kill()
        guard.cancel()
        code = child.wait()
        return None if code < 0 else code

    def to_the_end(self, *start: str) -> int:
        code = self.go("start", *start, *BRIEF)
        for number in range(20):
            if code is not None:
                return code
            if number % 2:
                shutil.rmtree(self.folder / "state", ignore_errors=True)  # another computer: only the broker knows
            code = self.go("resume", start[0])
        raise AssertionError(f"it does not come to an end: {self.phases}")


def models(run: Run, town: Town) -> list[str]:
    return [line["model"] for line in run("fleet", "ls", "--fleet", town.folder, "--json").lines]


def test_a_bad_model_is_taken_back_from_the_canaries_though_it_is_killed_at_that(run: Run, town: Town) -> None:
    carried = Carried(town.folder, "restor")
    code = carried.to_the_end("bad", "--model", "shelf", "--version", "2.0.0")
    assert code == 1
    assert [phase for phase in carried.phases if "100%" in phase] == [], "no device beyond the canaries"
    assert models(run, town) == ["shelf-1.0.0"] * DEVICES
    status = run("fleet", "rollout", "status", "bad", "--fleet", town.folder, "--json")
    assert status.code == 1
    assert status.lines[0]["phase"] == "restored"
    assert "gate" in status.lines[0]["note"]
    over = run("fleet", "rollout", "resume", "bad", "--fleet", town.folder)
    assert (over.code, "is over" in over.err) == (1, True)
    again = run("fleet", "rollout", "start", "bad", "--model", "shelf", "--version", "2.0.0", "--fleet", town.folder)
    assert "already" in again.err


def test_a_good_model_reaches_every_device_however_often_it_is_killed(run: Run, town: Town) -> None:
    carried = Carried(town.folder, "writing", "soaking")
    assert carried.to_the_end("good", "--model", "shelf", "--version", "1.1.0") == 0
    assert models(run, town) == ["shelf-1.1.0"] * DEVICES
    assert "100% soaking" in carried.phases
    lines = run("fleet", "ls", "--fleet", town.folder, "--json").lines
    assert all(line["desired"]["rollout"] == "good" for line in lines)
    told = run("fleet", "rollout", "status", "good", "--fleet", town.folder)
    assert told.code == 0
    assert "completed" in told.out
    assert run("fleet", "rollout", "watch", "good", "--fleet", town.folder).code == 0


def test_a_rollout_is_halted_from_elsewhere_and_taken_back(run: Run, town: Town) -> None:
    start = ["start", "third", "--model", "shelf", "--version", "1.2.0", *BRIEF, "--soak", "600"]
    child = subprocess.Popen(
        [*CLI, *start, "--fleet", str(town.folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "watching" in line:
            break
    fleet = ("--fleet", town.folder)
    second = run("fleet", "rollout", "start", "fourth", "--model", "shelf", "--version", "1.3.0", *fleet)
    assert "under way among these devices" in second.err
    assert run("fleet", "rollout", "halt", "third", *fleet).code == 0
    _, said = child.communicate(timeout=60)
    assert child.returncode == 75
    assert "taken over" in said
    assert run("fleet", "rollout", "abort", "third", *fleet).code == 0
    assert models(run, town) == ["shelf-1.1.0"] * DEVICES


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--rings", "none"], "is no ring"),
        (["--rings", "50%,10%"], "must grow"),
        (["--gate", "beauty=1"], "there is no gate"),
        (["--version", "new"], "no rollout can be like that"),
        (["--soak", "-1"], "no rollout can be like that"),
    ],
)
def test_a_plan_that_can_not_be_is_wrong_usage(run: Run, town: Town, extra: list[str], said: str) -> None:
    ran = run(
        "fleet", "rollout", "start", "x", "--model", "shelf", "--version", "1.2.0", *extra, "--fleet", town.folder
    )
    assert ran.code == 2
    assert said in ran.err


def test_a_rollout_for_nobody_and_one_that_is_not_there_are_refused(run: Run, town: Town) -> None:
    fleet = ("--fleet", town.folder)
    plan = ("--model", "shelf", "--version", "1.2.0")
    assert "no device is meant" in run("fleet", "rollout", "start", "x", *plan, "--pattern", "mars/*", *fleet).err
    assert "no rollout" in run("fleet", "rollout", "resume", "nothing", *fleet).err
    assert run("fleet", "rollout", "status", "nothing", *fleet).code == 1
    assert "knows no rollout" in run("fleet", "rollout", "watch", "nothing", *fleet).err, "it would watch for ever"
    assert run("fleet", "rollout", "start", "a/b", *plan, *fleet).code == 2
