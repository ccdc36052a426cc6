"""The engine of a rollout: it never passes a failed gate, takes back what it touched, and a kill changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.fleet.operator.rollouts.engine import Rollout
from edge_runtime.fleet.operator.rollouts.plan import parse_gates, parse_rings
from fleet.operator.worlds import NEW, OLD, Box, Disk, World, begin, carry_out, fleet, plan


def versions(world: World) -> set[str]:
    return {box.model.version for box in world.boxes.values()}


def written(world: World) -> list[str]:
    return [name for name, box in world.boxes.items() if box.written]


def test_a_good_model_reaches_every_device_once_ring_after_ring():
    world = fleet(40)
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "completed", rollout.head.note
    assert versions(world) == {"1.1.0"}
    assert all(len(box.written) == 1 for box in world.boxes.values())
    sizes = [len(rollout.cohort.ring(number)) for number in range(3)]
    assert sizes == [5, 5, 30]


@pytest.mark.parametrize(
    ("quality", "gate"),
    [
        ((0.88, 0.02, 100.0), "accuracy_drop"),
        ((0.95, 0.12, 100.0), "unknown_rise"),
        ((0.95, 0.02, 170.0), "latency_rise"),
    ],
)
def test_a_model_that_is_worse_in_the_field_is_taken_back_from_the_canaries(quality, gate):
    world = fleet(40, **{"1_1_0": quality})
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "restored"
    assert gate in rollout.head.note
    assert versions(world) == {"1.0.0"}
    assert len(written(world)) == 5
    assert all(box.desired is None or box.desired.model.version == "1.0.0" for box in world.boxes.values())


def test_a_model_that_guards_take_out_fails_without_waiting_for_figures():
    world = fleet(40)
    for box in world.boxes.values():
        box.breaks = True
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "restored"
    assert "failed_share" in rollout.head.note
    assert len(written(world)) == 5


def test_what_happens_to_all_devices_is_not_the_models_fault():
    world = fleet(60)
    rollout = carry_out(world, begin(world), until="soaking")
    world.mood = -0.08
    carry_out(world, rollout)
    assert rollout.head.phase == "completed", rollout.head.note


def test_silence_is_never_a_yes():
    world = fleet(40)
    rollout = carry_out(world, begin(world), until="soaking")
    world.silent = set(world.boxes)
    carry_out(world, rollout)
    assert rollout.head.phase == "halted"
    assert "accuracy_drop silent" in rollout.head.note
    assert len(written(world)) == 5


def test_without_figures_of_the_model_before_nothing_is_touched():
    world = fleet(20)
    world.silent = set(world.boxes)
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "halted"
    assert "nothing to compare with" in rollout.head.note
    assert written(world) == []


def test_canaries_that_go_away_and_stay_away_are_harm():
    world = fleet(40)
    rollout = carry_out(world, begin(world), until="soaking")
    for touched in rollout.cohort.ring(0)[:3]:
        box = world.boxes[touched.device]
        box.online, box.away_since = False, world.now
    carry_out(world, rollout)
    assert rollout.head.phase == "restored"
    assert "offline_share" in rollout.head.note


def test_an_outage_of_the_whole_fleet_is_no_harm_of_the_model():
    world = fleet(40)
    rollout = carry_out(world, begin(world), until="soaking")
    for box in world.boxes.values():
        box.online, box.away_since = False, world.now
    carry_out(world, rollout, 70.0)
    assert rollout.head.phase == "soaking"


def test_devices_that_restart_again_and_again_are_harm():
    world = fleet(40)
    rollout = carry_out(world, begin(world), until="soaking")
    for touched in rollout.cohort.ring(0)[:2]:
        world.boxes[touched.device].session += 3
    carry_out(world, rollout)
    assert rollout.head.phase == "restored"
    assert "restart_share" in rollout.head.note


def test_devices_that_are_offline_come_last_and_do_not_hold_it_up():
    world = fleet(40)
    away = [name for number, name in enumerate(world.boxes) if number % 4 == 0]
    for name in away:
        world.boxes[name].online = False
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "completed", rollout.head.note
    assert all(rollout.cohort.ring_of[name] == 2 for name in away)
    assert all(world.boxes[name].desired.model == NEW for name in away)
    for name in away:
        world.boxes[name].online = True
    for _ in range(3):
        world.go_on(5.0)
    assert versions(world) == {"1.1.0"}


def test_a_device_that_never_gets_there_counts_as_failed_once_its_time_is_over():
    world = fleet(40)
    for box in world.boxes.values():
        box.takes_s = 1e9
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "restored"
    assert "failed_share" in rollout.head.note


def test_a_broker_that_keeps_nothing_halts_it():
    world = fleet(10)
    world.keeps = False
    rollout = carry_out(world, begin(world))
    assert rollout.head.phase == "halted"
    assert "does not retain" in rollout.head.note


def test_a_wish_of_somebody_else_is_left_alone():
    world = fleet(40, **{"1_1_0": (0.7, 0.3, 900.0)})
    rollout = carry_out(world, begin(world), until="soaking")
    other = rollout.cohort.ring(0)[0].device
    mine = world.boxes[other].desired
    wish = type(mine)(audience=other, seq=mine.seq + 500, issued_at=mine.issued_at, model=OLD, rollout="by hand")
    world.write(wish)
    carry_out(world, rollout)
    assert rollout.head.phase == "restored"
    assert world.boxes[other].desired == wish


def test_a_group_can_be_the_canaries_and_a_single_device_as_well():
    world = fleet(30)
    world.groups = {"canary": {"s0/d000", "s1/d001", "s2/d002", "s3/d003"}}
    rollout = carry_out(world, begin(world, plan(rings=parse_rings("canary=@canary,100%"))))
    assert {touched.device for touched in rollout.cohort.ring(0)} == world.groups["canary"]
    assert rollout.head.phase == "completed"
    alone = carry_out(small := fleet(1), begin(small, plan(rings=parse_rings("100%"))))
    assert alone.head.phase == "completed", alone.head.note


@pytest.mark.parametrize("gates", [{}, {"failed_share": 0.1}, {"accuracy_drop": 0.03}])
def test_canaries_that_are_all_offline_are_no_yes(gates):
    world = fleet(30)
    world.groups = {"canary": {"s0/d000", "s1/d001", "s2/d002"}}
    for name in world.groups["canary"]:
        world.boxes[name].online = False
    rollout = carry_out(world, begin(world, plan(rings=parse_rings("canary=@canary,100%"), gates=gates)))
    assert rollout.head.phase == "halted"
    assert "of 3 devices 0 are online" in rollout.head.note
    assert written(world) == []


def test_canaries_that_have_the_model_already_do_not_hold_it_up():
    world = fleet(30)
    world.groups = {"canary": {"s0/d000", "s1/d001", "s2/d002"}}
    for name in world.groups["canary"]:
        world.boxes[name].model = NEW
    rollout = carry_out(world, begin(world, plan(rings=parse_rings("canary=@canary,100%"))))
    assert rollout.head.phase == "completed", rollout.head.note


def test_a_bad_model_fails_on_one_device_alone_too():
    world = fleet(1, **{"1_1_0": (0.7, 0.02, 100.0)})
    rollout = carry_out(world, begin(world, plan(rings=parse_rings("100%"))))
    assert rollout.head.phase == "restored"


def test_halted_by_a_person_it_goes_on_where_it_was_and_aborted_it_goes_back():
    world = fleet(40)
    rollout = carry_out(world, begin(world), until="settling")
    rollout.take(rollout.claimed("you", world.now))
    rollout.take(rollout.halted("halted by a person", world.now))
    carry_out(world, rollout, 1_000.0)
    assert len(written(world)) == 5
    rollout.take(rollout.claimed("me again", world.now))
    rollout.take(rollout.resumed(world.now))
    assert rollout.head.phase == "settling"
    carry_out(world, rollout, until="soaking")
    rollout.take(rollout.reversed("aborted", world.now))
    carry_out(world, rollout)
    assert rollout.head.phase == "restored"
    assert versions(world) == {"1.0.0"}


def in_the_midst(world: World, rollout: Rollout) -> Rollout:
    """Until a first batch of 50 is written, and more of the ring are to come."""
    while len(written(world)) < 50:
        carry_out(world, rollout, 5.0)
    assert rollout.head.phase == "writing"
    return rollout


def next_owner(world: World, rollout: Rollout) -> Rollout:
    """Has the records, and none of the figures that the old one had heard."""
    world.heard.clear()
    rollout.take(rollout.claimed("next", world.now))
    return rollout


@pytest.mark.parametrize(
    ("rings", "touched", "quality", "end", "version"),
    [
        ("canary=5,100%", 55, {}, "completed", "1.1.0"),
        ("100%", 50, {}, "completed", "1.1.0"),
        ("100%", 50, {"1_1_0": (0.8, 0.02, 105.0)}, "restored", "1.0.0"),
    ],
)
@pytest.mark.parametrize("halted", [False, True])
def test_killed_while_the_last_ring_is_written_the_figures_of_the_others_are_gathered_again(
    rings, touched, quality, end, version, halted
):
    world = fleet(120, **quality)
    rollout = in_the_midst(world, begin(world, plan(rings=parse_rings(rings))))
    assert len(written(world)) == touched
    if halted:
        rollout.take(rollout.halted("halted by a person", world.now))
    rollout = next_owner(world, rollout)
    if halted:
        rollout.take(rollout.resumed(world.now))
    carry_out(world, rollout, 15.0)
    assert len(written(world)) == touched, "nobody is touched whose figures are not known"
    carry_out(world, rollout)
    assert rollout.head.phase == end, rollout.head.note
    assert all(judged.outcome != "silent" for judged in rollout.head.judged)
    assert versions(world) == {version}
    assert all(len(box.written) == (1 if end == "completed" else 2) for box in world.boxes.values())


def test_killed_when_all_of_a_ring_is_written_it_is_judged_nevertheless():
    world = fleet(30, **{"1_1_0": (0.7, 0.02, 100.0)})
    rollout = begin(world, plan(rings=parse_rings("100%")))
    while not written(world):
        carry_out(world, rollout, 5.0)
    assert rollout.head.phase == "writing"
    rollout = carry_out(world, next_owner(world, rollout), until="settling")
    assert len(written(world)) == 30
    assert carry_out(world, rollout).head.phase == "restored"


@pytest.mark.parametrize("rings", ["100%", "canary=@all"])
@pytest.mark.parametrize("what", ["silent", "offline"])
def test_devices_that_tell_nothing_hold_a_ring_up_after_a_kill_no_more_than_without(rings, what):
    world = fleet(80)
    world.groups = {"all": set(world.boxes)}
    rollout = in_the_midst(world, begin(world, plan(rings=parse_rings(rings))))
    for name in set(world.boxes) - set(written(world)):
        if what == "silent":
            world.silent.add(name)
        else:
            world.boxes[name].online, world.boxes[name].away_since = False, world.now
    rollout = carry_out(world, next_owner(world, rollout))
    assert rollout.head.phase == "completed", rollout.head.note
    assert all(len(box.written) == 1 for box in world.boxes.values())


def run_with_kills(world: World, kills: frozenset[int], gates: dict[str, float] | None = None) -> tuple[Disk, str]:
    """Every record and every write is a place where it may be killed, before or after; what is not kept is forgotten."""
    disk, rollout = Disk(), begin(world, plan(gates=gates) if gates else None)
    disk.keep(rollout.head)
    place = 0

    def survives() -> bool:
        nonlocal place
        place += 1
        return place not in kills

    ends = world.now + 60_000.0
    while world.now < ends and not rollout.over:
        alive = True
        for record in rollout.step(world, world.now):
            alive = alive and survives()
            if alive:
                disk.keep(record)
                alive = survives()
            if alive:
                rollout.take(record)
        for wish in list(rollout.outstanding(world)) if alive else ():
            alive = alive and survives()
            if alive:
                world.write(wish)
        if not alive:
            rollout = disk.again()
            rollout.take(rollout.claimed(f"owner-{place}", world.now))
            disk.keep(rollout.head)
            world.heard.clear()  # what only the old one had heard
        world.go_on(5.0)
    return disk, rollout.head.phase


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.frozensets(st.integers(1, 90), max_size=8), st.sampled_from(["good", "bad"]))
def test_killed_anywhere_it_comes_to_the_same_end(kills, model):
    quality = {} if model == "good" else {"1_1_0": (0.7, 0.3, 100.0)}
    world = fleet(16, **quality)
    _, phase = run_with_kills(world, kills)
    assert phase == ("completed" if model == "good" else "restored")
    assert versions(world) == ({"1.1.0"} if model == "good" else {"1.0.0"})
    for name, box in world.boxes.items():
        wishes = [(wish.model.version, wish.seq) for wish in box.written]
        assert len(wishes) == len(set(wishes)), name
        if model == "good":
            assert [version for version, _ in wishes] == ["1.1.0"], "no device is skipped or done twice"
    if model == "bad":
        assert len(written(world)) <= 5, "nothing beyond the canaries is ever touched"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 30),
    st.floats(0.0, 0.3),
    st.floats(0.0, 0.3),
    st.floats(0.0, 0.4),
    st.sampled_from(["canary=3,100%", "10%,50%,100%", "canary=1,100%", "100%"]),
)
def test_no_ring_is_begun_while_a_gate_of_the_one_before_has_not_passed(number, drop, rise, broken, rings):
    world = fleet(number, **{"1_1_0": (0.95 - drop, 0.02 + rise, 100.0)})
    for count, box in enumerate(world.boxes.values()):
        box.breaks = count < broken * number
    rollout = begin(world, plan(rings=parse_rings(rings)))
    ends = world.now + 20_000.0
    while world.now < ends and not rollout.over:
        for record in rollout.step(world, world.now):
            ring = rollout.head.ring
            rollout.take(record)
            if rollout.head.ring > ring or rollout.head.phase == "completed":
                assert all(judged.outcome == "passed" for judged in rollout.head.judged)
        for wish in list(rollout.outstanding(world)):
            world.write(wish)
        world.go_on(10.0)
    assert rollout.over
    if rollout.head.phase == "restored":
        assert versions(world) == {"1.0.0"}
    if drop > 0.05 or rise > 0.07:
        assert rollout.head.phase != "completed"


def test_gates_can_be_set_and_taken_out():
    gates = parse_gates(["accuracy_drop=0.2", "latency_rise=off"])
    assert gates["accuracy_drop"] == 0.2
    assert "latency_rise" not in gates
    world = fleet(40, **{"1_1_0": (0.88, 0.02, 900.0)})
    assert carry_out(world, begin(world, plan(gates=gates))).head.phase == "completed"


def test_a_late_batch_of_an_owner_that_was_overtaken_is_taken_back_as_well():
    world = fleet(20)
    first = begin(world)
    carry_out(world, first, until="writing")
    batch, _ = first.step(world, world.now)
    second = begin(world)
    second.take(second.claimed("second", world.now))
    second.take(batch)
    for wish in list(first.outstanding(world)):
        world.write(wish)
    second.take(second.reversed("aborted", world.now))
    carry_out(world, second)
    assert second.head.phase == "restored"
    assert versions(world) == {"1.0.0"}
    assert all(isinstance(box, Box) for box in world.boxes.values())
