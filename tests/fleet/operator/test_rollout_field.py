"""Rollouts among devices as they are configured in the field: trials of hours, absences, wishes that had failed before."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from edge_runtime.config import ModelConfig
from edge_runtime.fleet.desired import Desired, DesiredModel
from edge_runtime.fleet.operator.directory import Directory
from edge_runtime.fleet.operator.rollouts.defaults import DEFAULT_SETTLE_S
from edge_runtime.fleet.operator.rollouts.evidence import Evidence
from edge_runtime.fleet.operator.rollouts.sight import FleetSight, Seen

from .worlds import NEW, OLD, World, begin, carry_out, fleet, plan


@dataclass
class Slow(World):
    """`trying`: devices that say that they have it in trial."""

    trying: set[str] = field(default_factory=set)

    def seen(self, device: str) -> Seen:
        return replace(super().seen(device), trying=device in self.trying)


def test_the_usual_shadow_run_and_trial_of_a_device_fit_into_what_a_rollout_waits():
    usual = ModelConfig("shelf")
    assert usual.shadow_s + usual.trial_s + 3_600 < DEFAULT_SETTLE_S


@pytest.mark.parametrize(("trying", "phase"), [(True, "halted"), (False, "restored")])
def test_a_trial_that_takes_longer_than_the_rollout_waits_is_no_harm_and_no_yes(trying, phase):
    plain = fleet(10)
    world = Slow(plain.boxes, plain.quality, trying=set(plain.boxes) if trying else set())
    for box in world.boxes.values():
        box.takes_s = 1e9
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == phase, rollout.head.note
    assert ("in their shadow run or trial still" in rollout.head.note) == trying


def test_while_the_broker_was_away_nobody_was_late():
    world = fleet(10)
    rollout = carry_out(world, begin(world), until="settling")
    for box in world.boxes.values():
        box.reported = "converging" if box.desired else box.reported
        box.due = None
    world.connected_s = 5.0
    world.now += 9_000.0
    assert rollout.step(world, rollout.head.since + 301.0) == []
    world.connected_s = 61.0
    assert rollout.step(world, rollout.head.since + 301.0)[0].phase == "restoring"


def test_an_absence_counts_from_our_own_return():
    directory = Directory()
    sight = FleetSight(directory, Evidence(), {})
    gone = json.dumps({"at": 1.0, "session": 1, "state": "offline"}).encode()
    directory.take("edge/v1/lyon/d1/availability", gone, True, 1.0)
    sight.look(1_000.0, 500.0)
    sight.look(1_060.0, 560.0)
    assert sight.seen("lyon/d1").away_s == 60.0
    sight.look(9_000.0, 0.5)  # our own line was cut; what the broker retains has not come yet
    assert sight.seen("lyon/d1").away_s == 0.5


@pytest.mark.parametrize(("state", "reason", "trying"), [
    ("converging", "trial", True), ("converging", "shadow", True), ("converging", "unavailable", False),
    ("failed", "trial", False),
])  # fmt: skip
def test_who_is_in_a_trial_is_read_from_what_the_device_reports(state, reason, trying):
    directory = Directory()
    said = json.dumps({"at": 1.0, "session": 1, "seq": 7, "state": state, "reason": reason}).encode()
    directory.take("edge/v1/lyon/d1/reported", said, True, 1.0)
    assert FleetSight(directory, Evidence(), {}).seen("lyon/d1").trying == trying


def test_without_grace_every_absence_counts_and_devices_at_work_are_waited_for():
    world = fleet(10)
    rollout = carry_out(world, begin(world, plan(grace_s=0.0)), until="soaking")
    assert all(world.boxes[touched.device].model == NEW for touched in rollout.cohort.ring(0))
    for touched in rollout.cohort.ring(0)[:3]:
        world.boxes[touched.device].online, world.boxes[touched.device].away_since = False, world.now
    carry_out(world, rollout)
    assert (rollout.head.phase, "offline_share" in rollout.head.note) == ("restored", True)


def test_devices_that_could_not_go_back_are_told():
    world = fleet(20, **{"1_1_0": (0.5, 0.3, 105.0)})
    rollout = carry_out(world, begin(world), until="restoring")
    stuck = rollout.cohort.ring(0)[0]
    carry_out(world, rollout, 0.1)
    box = world.boxes[stuck.device]
    box.reported_seq, box.reported, box.due = stuck.seq + 1, "failed", None
    carry_out(world, rollout)
    assert rollout.head.phase == "restored"
    assert "1 devices could not go back" in rollout.head.note


def test_a_wish_that_had_failed_before_is_not_wished_again():
    world = fleet(20, **{"1_1_0": (0.5, 0.3, 105.0)})
    bad = DesiredModel(name="shelf", version="1.0.9")
    for name, box in world.boxes.items():
        box.desired = Desired(audience=name, seq=5, issued_at=1.0, model=bad)
        box.reported_seq, box.reported = 5, "failed"
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "restored"
    assert {touched.model for touched in rollout.cohort.touched.values()} == {OLD}
