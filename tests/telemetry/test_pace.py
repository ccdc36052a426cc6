"""The token bucket: its rate holds over any time, however it is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.telemetry.pace import Bucket


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200), st.floats(0.5, 100.0), st.integers(1, 40))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float], per_s: float, burst: int) -> None:
    bucket, now_s, went = Bucket(per_s, burst), 1_000.0, 0
    for pause_s in pauses:
        now_s += pause_s
        n = bucket.room(now_s)
        assert n <= burst
        bucket.take(n, now_s)
        went += n
        assert went <= burst + (now_s - 1_000.0) * per_s + 1e-6


@given(st.floats(0.5, 100.0), st.integers(1, 40), st.integers(100, 400))
def test_who_waits_as_told_gets_the_whole_rate(per_s: float, burst: int, n: int) -> None:
    bucket, now_s = Bucket(per_s, burst), 0.0
    for _ in range(n):
        now_s += bucket.wait_s(now_s)
        bucket.take(1, now_s)
    assert abs(now_s - max(0, n - burst) / per_s) < 1e-6 * n


def test_several_together() -> None:
    bucket = Bucket(10.0, 5)
    bucket.take(5, 0.0)
    assert bucket.room(0.05) == 0
    assert abs(bucket.wait_s(0.0, 4) - 0.4) < 1e-9
    assert bucket.room(0.4) == 4
