"""The laws of `telemetry.spool.Spool`, run over every spool there is, against a model that is a plain list."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.fallback_spool import FallbackSpool
from edge_runtime.telemetry.spool import Entry, Grade, MemorySpool, Spool, SpoolLimits
from edge_runtime.telemetry.sqlite_spool import SqliteSpool

LIMITS = SpoolLimits(max_bytes=2_000, telemetry_share=0.5, event_age_s=100.0, telemetry_age_s=10.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def no_disk() -> Spool:
    raise TryAgain("the disk is read-only")


Make = Callable[[Path, Clock], Spool]
SPOOLS: dict[str, Make] = {
    "memory": lambda folder, clock: MemorySpool(LIMITS, clock),
    "sqlite": lambda folder, clock: SqliteSpool(folder / "spool.sqlite", LIMITS, clock),
    "fallback on its disk": lambda folder, clock: FallbackSpool(
        lambda: SqliteSpool(folder / "spool.sqlite", LIMITS, clock), LIMITS, clock
    ),
    "fallback without a disk": lambda folder, clock: FallbackSpool(no_disk, LIMITS, clock),
}
DURABLE = ("sqlite", "fallback on its disk")


@pytest.fixture(params=SPOOLS)
def make(request: pytest.FixtureRequest) -> Make:
    return SPOOLS[request.param]


def event(key: str, size: int = 10) -> Entry:
    return Entry(key, Grade.EVENT, "t/event", b"e" * size)


def figure(key: str, size: int = 10) -> Entry:
    return Entry(key, Grade.TELEMETRY, "t/telemetry", b"f" * size)


def ids(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.id for entry in entries]


def test_events_go_before_figures_and_each_oldest_first(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    assert spool.add([figure("f1"), event("e1"), figure("f2"), event("e2")]) == 4
    assert ids(spool.begin(3)) == ["e1", "e2", "f1"]


def test_what_is_neither_accepted_nor_rejected_comes_again_in_its_old_place(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event("a"), event("b"), event("c")])
    spool.begin(3)
    spool.add([event("d")])
    spool.end(accepted=["b"], rejected=["c"])
    assert ids(spool.begin(9)) == ["a", "d"]
    counts = spool.counts()
    assert (counts.accepted, counts.dropped) == (1, {"rejected": 1})


def test_an_id_that_waits_is_not_added_twice(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    assert spool.add([event("a"), event("a")]) == 2
    assert spool.add([event("a")]) == 1
    assert ids(spool.begin(9)) == ["a"]


def test_a_full_spool_drops_its_oldest_figures_before_any_event(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([figure(f"f{n}") for n in range(5)])
    spool.add([event(f"e{n:02}") for n in range(12)])
    counts = spool.counts()
    assert counts.events == 12
    assert counts.dropped.keys() == {"telemetry_full"}
    spool.add([event("new")])
    spool.add([event("newer"), event("newest")])
    assert ids(spool.begin(99))[-1] == "newest"
    assert spool.counts().dropped["event_full"] > 0


def test_figures_never_push_events_out(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event(f"e{n}") for n in range(20)])
    before = spool.counts().events
    spool.add([figure(f"f{n}") for n in range(20)])
    assert spool.counts().events == before


def test_what_is_out_in_a_batch_is_not_dropped(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event(f"e{n:02}") for n in range(13)])
    out = ids(spool.begin(99))
    assert spool.add([event("late")]) == 0
    spool.end(out)
    assert spool.counts().accepted == len(out)
    assert spool.add([event("later")]) == 1


def test_what_could_never_fit_is_dropped_and_counted(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    assert spool.add([event("big", 5_000), event("small")]) == 1
    assert spool.counts().dropped == {"too_large": 1}


def test_age_counts_by_grade(make: Make, tmp_path: Path) -> None:
    clock = Clock()
    spool = make(tmp_path, clock)
    spool.add([event("e"), figure("f")])
    clock.now_s = 50.0
    assert ids(spool.begin(9)) == ["e"]
    spool.end([])
    clock.now_s = 101.0
    assert spool.begin(9) == ()
    assert spool.counts().dropped == {"event_age": 1, "telemetry_age": 1}


def test_one_batch_at_a_time(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    with pytest.raises(RuntimeError):
        spool.end([])
    spool.add([event("a")])
    spool.begin(1)
    with pytest.raises(RuntimeError):
        spool.begin(1)
    with pytest.raises(RuntimeError):
        spool.end(["another"])
    spool.end(["a"])


@pytest.mark.parametrize("name", DURABLE)
def test_a_durable_spool_opens_with_what_it_had(name: str, tmp_path: Path) -> None:
    clock = Clock()
    spool = SPOOLS[name](tmp_path, clock)
    spool.add([event("a"), event("b"), event("c")])
    spool.begin(1)
    spool.end(["a"])
    spool.begin(1)
    spool.close()
    again = SPOOLS[name](tmp_path, clock)
    assert ids(again.begin(9)) == ["b", "c"]
    assert again.counts().accepted == 1


class SpoolMachine(RuleBasedStateMachine):
    """Any order of calls: nothing is lost without being counted, nothing comes twice, the bound holds."""

    make: Make = SPOOLS["memory"]
    durable = False
    added = Bundle("added")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-laws-"))
        self.clock = Clock()
        self.spool = type(self).make(self.folder, self.clock)
        self.numbers = itertools.count()
        self.given = 0
        self.waiting: dict[str, Entry] = {}
        """May still be in the spool: given, and not seen accepted or rejected."""
        self.batch: tuple[Entry, ...] | None = None
        self.accepted = self.lost_count = 0

    @rule(grade=st.sampled_from(Grade), sizes=st.lists(st.integers(0, 900), min_size=1, max_size=4))
    def add(self, grade: Grade, sizes: list[int]) -> None:
        entries = [Entry(f"k{next(self.numbers)}", grade, "t", b"x" * size) for size in sizes]
        kept = self.spool.add(entries)
        assert 0 <= kept <= len(entries)
        self.given += len(entries)
        self.waiting |= {entry.id: entry for entry in entries}

    @rule(seconds=st.sampled_from([0.5, 6.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @precondition(lambda self: self.batch is None)
    @rule(limit=st.integers(1, 6))
    def begin(self, limit: int) -> None:
        batch = self.spool.begin(limit)
        assert len(batch) <= limit
        assert len(set(ids(batch))) == len(batch)
        for entry in batch:
            assert self.waiting.get(entry.id) == entry, "handed out something that was finished or never given"
        order = [(entry.grade, int(entry.id[1:])) for entry in batch]
        assert order == sorted(order)
        self.batch = batch

    @precondition(lambda self: self.batch is not None)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        assert self.batch is not None
        verdicts = {entry.id: data.draw(st.sampled_from("arkk"), label=entry.id) for entry in self.batch}
        accepted = [key for key, verdict in verdicts.items() if verdict == "a"]
        rejected = [key for key, verdict in verdicts.items() if verdict == "r"]
        before = self.spool.counts()
        self.spool.end(accepted, rejected)
        after = self.spool.counts()
        assert before.events + before.telemetry - after.events - after.telemetry == len(accepted) + len(rejected)
        for key in (*accepted, *rejected):
            del self.waiting[key]
        self.accepted += len(accepted)
        self.batch = None

    @rule()
    def reopen(self) -> None:
        if self.durable:
            self.spool.close()
            self.spool = type(self).make(self.folder, self.clock)
            self.batch = None

    @invariant()
    def everything_is_accounted_for(self) -> None:
        counts = self.spool.counts()
        assert counts.bytes <= LIMITS.max_bytes
        assert counts.accepted == self.accepted
        assert counts.events + counts.telemetry + counts.accepted + sum(counts.dropped.values()) == self.given

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)


def machine(name: str) -> type[RuleBasedStateMachine]:
    return type(f"{name} machine", (SpoolMachine,), {"make": staticmethod(SPOOLS[name]), "durable": name in DURABLE})


@pytest.mark.parametrize("name", SPOOLS)
def test_any_order_of_calls(name: str) -> None:
    examples = 25 if name in DURABLE else 150
    run_state_machine_as_test(
        machine(name),
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
