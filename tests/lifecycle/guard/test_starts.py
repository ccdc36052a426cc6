"""The rules that need no statistics."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.lifecycle.clock import Instant, SystemClock, age_s
from edge_runtime.lifecycle.guard import CRASH_WINDOW_S, judge_starts
from edge_runtime.lifecycle.state_file import Start

INSTANTS = st.builds(Instant, st.sampled_from(["a", "b"]), st.floats(0, 1e8), st.floats(-1e10, 1e10))


def test_only_recent_starts_of_the_same_model_count() -> None:
    now = Instant("a", 1000.0, 0.0)
    starts = [Start("x", Instant("a", 1000.0 - back, 0.0)) for back in (900.0, 300.0, 200.0)]
    assert not judge_starts(starts, "x", now).fall_back
    assert not judge_starts([*starts, Start("y", now)], "x", now).fall_back
    assert judge_starts([*starts, Start("x", now)], "x", now).fall_back


@given(INSTANTS, INSTANTS)
def test_age_is_never_negative_and_ignores_the_wall_clock_within_a_boot(then: Instant, now: Instant) -> None:
    age = age_s(then, now)
    assert age >= 0
    if then.boot == now.boot:
        assert age == max(0.0, now.since_boot_s - then.since_boot_s)


def test_the_system_clock_goes_on() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.boot == second.boot and 0 <= age_s(first, second) < CRASH_WINDOW_S
