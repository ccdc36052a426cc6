from __future__ import annotations

import pytest

from edge_runtime.fleet.backoff import LEAST_S, Cause, delay_s

FAULTS = [
    Cause.LOST,
    Cause.UNREACHABLE,
    Cause.SILENT,
    Cause.BUSY,
    Cause.DENIED,
    Cause.TLS,
    Cause.CREDENTIALS,
    Cause.TAKEN,
]


@pytest.mark.parametrize("cause", FAULTS)
def test_the_ceiling_doubles_up_to_a_cap(cause: Cause) -> None:
    ceilings = [delay_s(cause, attempt, lambda: 1.0) for attempt in range(1, 40)]
    assert ceilings == sorted(ceilings)
    assert ceilings[1] == 2 * ceilings[0]
    assert ceilings[-1] <= 900


@pytest.mark.parametrize("cause", FAULTS)
def test_the_jitter_is_full_but_never_a_busy_loop(cause: Cause) -> None:
    assert delay_s(cause, 5, lambda: 0.0) == LEAST_S
    assert delay_s(cause, 5, lambda: 0.5) == pytest.approx(delay_s(cause, 5, lambda: 1.0) / 2)


def test_what_only_a_person_can_mend_waits_longer_than_a_lost_connection() -> None:
    assert delay_s(Cause.DENIED, 1, lambda: 1.0) > 10 * delay_s(Cause.LOST, 1, lambda: 1.0)
