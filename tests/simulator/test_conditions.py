"""The table of conditions: the names of the field bench, and severities that only get worse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.simulator.conditions import CLEAN, MIXES, SINGLE, TABLE, conditions, mixed, parameters

BENCH = {
    "yaw", "shift", "lens", "exposure", "kelvin", "gradient", "shadow", "glare", "banding", "defocus", "motion",
    "resolution", "snr", "jpeg", "occlusion", "night", "cheap", "sun", "bumped", "store",
}  # fmt: skip


def test_names_are_those_of_the_field_bench() -> None:
    assert set(TABLE) == BENCH
    assert set(SINGLE) | set(MIXES) == BENCH


def test_yaw_brings_a_third_of_pitch_and_a_fifth_of_roll() -> None:
    for severity, yaw in enumerate((3, 6, 12, 20, 30), 1):
        found = conditions("yaw", severity)
        assert found.yaw_deg == yaw
        assert found.pitch_deg == pytest.approx(yaw / 3, abs=0.05)
        assert found.roll_deg == pytest.approx(yaw / 5)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_parameter_moves_away_from_clean(name: str) -> None:
    for key, knots in TABLE[name].items():
        away = [abs(value - getattr(CLEAN, key)) for value in knots]
        assert away == sorted(away)
        assert away[-1] > 0


@given(st.sampled_from(sorted(TABLE)), st.floats(0, 5))
def test_fractions_lie_between_their_neighbours(name: str, severity: float) -> None:
    low, high = int(severity), min(5, int(severity) + 1)
    for key, value in parameters(name, severity).items():
        ends = sorted((getattr(conditions(name, low), key), getattr(conditions(name, high), key)))
        assert ends[0] - 1e-9 <= value <= ends[1] + 1e-9


def test_a_mixture_takes_the_worst_of_each_parameter() -> None:
    both = mixed({"snr": 1, "cheap": 4, "yaw": 2})
    assert both.snr_db == conditions("cheap", 4).snr_db
    assert both.yaw_deg == 6
    assert mixed({}) == CLEAN == conditions("lab", 0)


@pytest.mark.parametrize("severity", [-1, 5.5])
def test_severity_outside_the_table_is_refused(severity: float) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.5"):
        parameters("yaw", severity)
