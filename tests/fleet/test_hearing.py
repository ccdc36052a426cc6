"""What the link listens to: filters that are hushed and come back, and refusals."""

from __future__ import annotations

from edge_runtime.fleet.hearing import Hearing


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def heard() -> tuple[Hearing, Clock]:
    clock = Clock()
    hearing = Hearing(clock)
    hearing.want(("a/+", "b"), 1)
    return hearing, clock


def test_a_hushed_filter_stays_away_over_a_reconnect_and_comes_back_once() -> None:
    hearing, clock = heard()
    assert hearing.hush(5.0, ("a/+",)) == ("a/+",)
    assert hearing.connected() == (("b", 1),)
    assert hearing.again() == ()
    clock.now_s += 5.0
    assert hearing.again() == (("a/+", 1),)
    assert hearing.again() == ()


def test_a_hush_of_all_that_comes_on_top_only_makes_it_longer() -> None:
    hearing, clock = heard()
    hearing.hush(5.0, ("b",))
    assert hearing.hush(8.0, ()) == ("a/+",), "the other is unsubscribed from already"
    clock.now_s += 5.0
    assert hearing.again() == ()


def test_refusals_are_of_this_connection_and_of_what_is_wanted() -> None:
    hearing, _ = heard()
    hearing.refuse("b")
    hearing.refuse("own/topic")
    assert hearing.refused == ("b",)
    hearing.connected()
    assert hearing.refused == ()
    assert hearing.wants("a/x") and not hearing.wants("c")
