"""The reconciler: one next step from what is wished and what is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.fleet.convergence import (
    Activate,
    Converged,
    Failed,
    Held,
    Install,
    Past,
    Progress,
    Rest,
    Seen,
    SetConfig,
    Step,
    TakeOut,
    Waiting,
    decide,
    noted,
    told,
    why,
)
from edge_runtime.fleet.desired import Desired, DesiredModel

A, B, C = "a" * 64, "b" * 64, "c" * 64
OLD, NEW, BAD = (
    Held("shelf", "1.0.0", A, "current"),
    Held("shelf", "1.1.0", B, "staged"),
    Held("shelf", "1.2.0", C, "staged"),
)
FRESH = Progress(seq=10, state="converging")


def wish(version: str = "1.1.0", seq: int = 10, **more: object) -> Desired:
    return Desired(
        audience="s/d", seq=seq, issued_at=0.0, model=DesiredModel(name="shelf", version=version), **more  # type: ignore[arg-type]
    )  # fmt: skip


def step(desired: Desired | None, seen: Seen, so_far: Progress = FRESH) -> Step:
    return decide(desired, seen, so_far if desired is None else noted(desired, seen, so_far))


def test_without_a_wish_there_is_nothing_to_do() -> None:
    assert step(None, Seen((OLD,))) == Rest()


def test_a_model_that_is_not_here_is_fetched_then_let_in_then_waited_for_then_there() -> None:
    desired = wish()
    assert isinstance(step(desired, Seen((OLD,))), Install)
    assert step(desired, Seen((OLD, NEW))) == Activate(B, desired.model)  # type: ignore[arg-type]
    for phase in ("shadow", "trial"):
        assert isinstance(step(desired, Seen((OLD, replace(NEW, status=phase)))), Waiting)
    assert step(desired, Seen((replace(OLD, status="previous"), replace(NEW, status="current")))) == Converged()


def test_a_damaged_copy_is_fetched_again() -> None:
    assert isinstance(step(wish(), Seen((OLD, replace(NEW, status="damaged")))), Install)


def test_what_the_guard_took_out_is_failed_with_its_reason() -> None:
    seen = Seen((OLD, replace(NEW, status="quarantined", reason="unknown 22 %")))
    assert step(wish(), seen) == Failed("quarantined", "unknown 22 %")


def test_what_a_person_took_out_is_not_brought_back_under_the_same_seq() -> None:
    history = (
        Past(B, "shadow", why(wish())),
        Past(B, "trial", "agrees"),
        Past(B, "rolled_back", "the shop complained"),
    )
    seen = Seen((OLD, NEW), history)
    assert step(wish(), seen) == Failed("rolled_back", "the shop complained")
    assert isinstance(step(wish(seq=11), seen, replace_seq(11)), Activate), "a newer wish is a new decision"


def replace_seq(seq: int) -> Progress:
    return Progress(seq=seq, state="converging")


def test_a_model_that_was_put_aside_after_convergence_is_not_fought_for() -> None:
    done = Progress(seq=10, state="converged", entered=True)
    assert step(wish(), Seen((OLD, replace(NEW, status="staged"))), done) == Failed(
        "diverged", "another model was put in its place"
    )


def test_a_power_cut_between_fetching_and_activating_is_no_rollback() -> None:
    """Nothing was entered: the store's history has no step of this wish."""
    seen = Seen((OLD, NEW), (Past(B, "staged", ""),))
    assert isinstance(step(wish(), seen, Progress(seq=10, state="converging", reason="activating")), Activate)


def test_a_candidate_of_an_older_wish_gives_way() -> None:
    history = (Past(C, "shadow", "desired 9"), Past(C, "trial", "agrees"))
    for phase in ("shadow", "trial"):
        seen = Seen((OLD, NEW, replace(BAD, status=phase)), history)
        assert isinstance(step(wish(), seen), TakeOut)
    back = Seen((OLD, replace(BAD, status="trial")), history)
    assert isinstance(step(wish("1.0.0"), back), TakeOut), "back to what is current: the candidate leaves"


def test_a_trial_that_a_person_began_is_waited_for() -> None:
    history = (Past(C, "trial", "by hand"),)
    seen = Seen((OLD, NEW, replace(BAD, status="trial")), history)
    assert step(wish(), seen) == Waiting("busy", "1.2.0 is in a trial that somebody began by hand")
    assert step(wish("1.0.0"), seen) == Converged()


def test_back_to_the_model_before_needs_no_trial() -> None:
    seen = Seen((replace(OLD, status="previous"), replace(BAD, status="current")))
    assert step(wish("1.0.0"), seen) == TakeOut(C, "back to 1.0.0")


def test_a_digest_is_binding() -> None:
    desired = Desired(
        audience="s/d", seq=10, issued_at=0.0, model=DesiredModel(name="shelf", version="1.1.0", sha256=C)
    )  # fmt: skip
    assert isinstance(step(desired, Seen((OLD, NEW))), Install)


def test_settings_come_first_and_are_not_fought_for() -> None:
    desired = wish(config={"telemetry.interval_s": 30.0, "log.level": None})
    assert step(desired, Seen((OLD,), config={"log.level": "debug"})) == SetConfig(
        {"telemetry.interval_s": 30.0, "log.level": None}
    )
    assert isinstance(step(desired, Seen((OLD,), config={"telemetry.interval_s": 30.0}, config_on_trial=True)), Waiting)
    assert isinstance(step(desired, Seen((OLD,), config={"telemetry.interval_s": 30.0})), Install)
    changed = step(desired, Seen((OLD,), config={"telemetry.interval_s": 60.0}), Progress(seq=10, configured=True))
    assert isinstance(changed, Failed) and changed.reason == "diverged"


def test_settings_that_the_device_takes_back_are_not_tried_for_ever() -> None:
    desired, progress, tries = wish(config={"log.level": "debug"}), FRESH, 0
    while isinstance(now := step(desired, Seen((OLD,)), progress), SetConfig):
        progress, tries = told(progress, now), tries + 1
        assert tries < 5
    assert isinstance(now, Failed) and now.reason == "config_taken_back"


STATUSES = ("current", "trial", "shadow", "previous", "factory", "staged", "damaged", "quarantined")


@st.composite
def seens(draw: st.DrawFn) -> Seen:
    held: list[Held] = []
    for version, digest in (("1.0.0", A), ("1.1.0", B), ("1.2.0", C)):
        taken = {h.status for h in held if h.status in ("current", "trial", "shadow", "previous")}
        if draw(st.booleans()):
            held.append(Held("shelf", version, digest, draw(st.sampled_from(sorted(set(STATUSES) - taken))), "why"))
    reasons = st.sampled_from(["desired 10", "desired 9", "by hand"])
    phases = st.sampled_from(["staged", "shadow", "trial", "committed", "rolled_back"])
    history = draw(st.lists(st.builds(Past, st.sampled_from([A, B, C]), phases, reasons), max_size=6))
    return Seen(tuple(held), tuple(history))


@given(seens(), st.sampled_from(["1.0.0", "1.1.0", "9.9.9"]))
def test_a_quarantined_or_failed_model_is_never_let_in(seen: Seen, version: str) -> None:
    desired = wish(version)
    found = step(desired, seen)
    if isinstance(found, Activate):
        held = next(h for h in seen.bundles if h.sha256 == found.sha256)
        assert held.status not in ("quarantined", "damaged", "current", "trial", "shadow")
        entered = [p for p in seen.history if p.sha256 == found.sha256 and p.phase in ("shadow", "trial")]
        assert all(p.reason != "desired 10" for p in entered)
    failed = told(FRESH, Failed("quarantined", ""))
    assert decide(desired, seen, failed) == Rest()


@given(seens())
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_what_is_there_is_left_alone(version: str, seen: Seen) -> None:
    """A device that runs what is wished, with nothing on its way in, is never touched."""
    current = seen.of("current")
    if current is not None and current.version == version and seen.candidate is None:
        assert step(wish(version), seen) == Converged()
