"""Fault 19: 72 h without a network, accelerated: bounded, newest status first, what is new, the backlog at its rate.

`python -m benchmarks.faults --only spool_outage` prints the figures.
"""

from __future__ import annotations

import pytest

from benchmarks.faults import spool_outage


@pytest.mark.parametrize("name", spool_outage.LIMITS)
def test_three_days_without_a_network(name: str) -> None:
    limits = spool_outage.LIMITS[name]
    outage = spool_outage.run(limits)
    assert set(spool_outage.faults_of(outage, limits).values()) == {""}
    if name == "a spool of 1 MB":
        assert outage.dropped["telemetry_full"] > 1_000
    else:
        assert outage.dropped == {}
