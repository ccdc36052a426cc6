"""The laws of `telemetry.spool.Spool`, run over every spool there is, with restarts and a disk that comes and goes."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from edge_runtime.errors import TryAgain
from edge_runtime.telemetry.fallback_spool import RETRY_S, FallbackSpool
from edge_runtime.telemetry.memory_spool import MemorySpool
from edge_runtime.telemetry.spool import Entry, Grade, Lane, Spool, SpoolCounts, SpoolLimits
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


def test_what_is_kept_comes_again_in_its_old_place(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event("a"), event("b"), event("c")])
    spool.begin(3)
    spool.add([event("d")])
    spool.end(accepted=["b"], rejected=["c"], kept=["a"])
    assert ids(spool.begin(9)) == ["a", "d"]
    counts = spool.counts()
    assert (counts.accepted, counts.dropped) == (1, {"rejected": 1})


def test_what_is_out_is_not_handed_out_again_and_each_may_end_for_itself(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event("a"), event("b"), event("c")])
    assert ids(spool.begin(2)) == ["a", "b"]
    assert ids(spool.begin(9)) == ["c"]
    spool.end(["b"])
    assert spool.begin(9) == ()
    spool.end(["c"], kept=["a"])
    assert ids(spool.begin(9)) == ["a"]


def test_rejections_are_counted_by_their_reason(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event("a"), event("b")])
    spool.begin(2)
    spool.end([], ["a"], why="bad_topic")
    spool.end([], ["b"])
    assert spool.counts().dropped == {"rejected": 1, "rejected_bad_topic": 1}


def test_what_comes_after_a_mark_does_not_wait_behind_what_was_there(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event("old"), figure("old figure")])
    spool.mark()
    spool.add([event("new"), figure("new figure")])
    assert ids(spool.begin(9, Grade.EVENT, Lane.LIVE)) == ["new"]
    assert ids(spool.begin(9, lane=Lane.LIVE)) == ["new figure"]
    assert ids(spool.begin(9, Grade.TELEMETRY)) == ["old figure"]
    assert ids(spool.begin(9, lane=Lane.BACKLOG)) == ["old"]
    spool.end([], kept=["old", "new"])
    spool.mark()
    assert spool.begin(9, lane=Lane.LIVE) == ()
    assert ids(spool.begin(9, lane=Lane.BACKLOG)) == ["old", "new"]


def test_topics_can_be_passed_over(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.add([event("a"), Entry("b", Grade.EVENT, "t/other", b""), event("c"), figure("d")])
    assert ids(spool.begin(2, without=["t/event"])) == ["b", "d"]
    assert spool.begin(2, without=["t/event"]) == ()
    assert ids(spool.begin(9)) == ["a", "c"]


def test_drops_on_the_way_are_counted_with_the_others(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    spool.note({"inbox_full": 3})
    spool.note({"inbox_full": 2})
    assert spool.counts().dropped == {"inbox_full": 5}


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
    spool.end([], kept=["e"])
    clock.now_s = 101.0
    assert spool.begin(9) == ()
    assert spool.counts().dropped == {"event_age": 1, "telemetry_age": 1}


def test_what_is_out_does_not_grow_too_old(make: Make, tmp_path: Path) -> None:
    clock = Clock()
    spool = make(tmp_path, clock)
    spool.add([event("a"), event("b")])
    spool.begin(1)
    clock.now_s = 101.0
    assert spool.begin(9) == ()
    spool.end(["a"])
    assert spool.counts().dropped == {"event_age": 1}
    assert spool.counts().accepted == 1


def test_only_what_is_out_can_end_and_only_once(make: Make, tmp_path: Path) -> None:
    spool = make(tmp_path, Clock())
    with pytest.raises(RuntimeError):
        spool.end(["a"])
    spool.add([event("a"), event("b")])
    spool.begin(2)
    for wrong in ((["c"], [], []), (["a"], ["a"], []), (["a", "a"], [], []), (["a"], [], ["a"])):
        with pytest.raises(RuntimeError):
            spool.end(*wrong)
    spool.end(["a"], kept=["b"])
    with pytest.raises(RuntimeError):
        spool.end(["b"])


@pytest.mark.parametrize("name", DURABLE)
def test_a_durable_spool_opens_with_what_it_had(name: str, tmp_path: Path) -> None:
    clock = Clock()
    spool = SPOOLS[name](tmp_path, clock)
    spool.add([event("a"), event("b"), event("c")])
    spool.begin(2)
    spool.end(["a"])
    spool.note({"inbox_full": 7})
    spool.close()
    again = SPOOLS[name](tmp_path, clock)
    assert again.begin(9, lane=Lane.LIVE) == ()
    assert ids(again.begin(9, lane=Lane.BACKLOG)) == ["b", "c"]
    assert (again.counts().accepted, again.counts().dropped) == (1, {"inbox_full": 7})


@pytest.mark.parametrize("name", DURABLE)
def test_ages_go_on_over_a_restart(name: str, tmp_path: Path) -> None:
    clock = Clock()
    spool = SPOOLS[name](tmp_path, clock)
    spool.add([event("a")])
    clock.now_s = 90.0
    spool.close()
    again = SPOOLS[name](tmp_path, clock)
    again.begin(0)  # a spool that opens late opens now
    clock.now_s = 101.0
    assert again.begin(9) == ()
    assert again.counts().dropped == {"event_age": 1}


class SpoolMachine(RuleBasedStateMachine):
    """Any order of calls: nothing is lost without being counted, nothing comes twice, the bound holds."""

    make: Make = SPOOLS["memory"]
    durable = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-laws-"))
        self.clock = Clock()
        self.spool = type(self).make(self.folder, self.clock)
        self.numbers = itertools.count()
        self.given = self.noted = self.marked = 0
        self.waiting: dict[str, Entry] = {}
        """May still be in the spool: given, and not seen accepted or rejected."""
        self.out: dict[str, Entry] = {}
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

    @rule()
    def mark(self) -> None:
        self.spool.mark()
        self.marked = self.given

    @rule()
    def note(self) -> None:
        self.spool.note({"inbox_full": 2})
        self.noted += 2

    @rule(limit=st.integers(1, 6), grade=st.sampled_from([None, *Grade]), lane=st.sampled_from([None, *Lane]))
    def begin(self, limit: int, grade: Grade | None, lane: Lane | None) -> None:
        batch = self.spool.begin(limit, grade, lane)
        assert len(batch) <= limit
        assert len(set(ids(batch))) == len(batch)
        for entry in batch:
            assert self.waiting.get(entry.id) == entry, "handed out something that was finished or never given"
            assert entry.id not in self.out, "handed out what is out"
            assert grade in (None, entry.grade)
            assert lane in (None, Lane.LIVE if int(entry.id[1:]) >= self.marked else Lane.BACKLOG)
        order = [(entry.grade, int(entry.id[1:])) for entry in batch]
        assert order == sorted(order)
        self.out |= {entry.id: entry for entry in batch}

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        verdicts = {key: data.draw(st.sampled_from("arko"), label=key) for key in self.out}
        accepted, rejected, kept = ([key for key, verdict in verdicts.items() if verdict == v] for v in "ark")
        before = self.spool.counts()
        self.spool.end(accepted, rejected, kept, "why")
        after = self.spool.counts()
        assert before.events + before.telemetry - after.events - after.telemetry == len(accepted) + len(rejected)
        for key in (*accepted, *rejected):
            del self.waiting[key]
        for key in (*accepted, *rejected, *kept):
            del self.out[key]
        self.accepted += len(accepted)

    @rule()
    def reopen(self) -> None:
        if self.durable:
            self.spool.close()
            self.spool = type(self).make(self.folder, self.clock)
            self.spool.begin(0)  # a spool that opens late opens now
            self.out = {}
            self.marked = self.given

    @invariant()
    def everything_is_accounted_for(self) -> None:
        counts = self.spool.counts()
        assert counts.bytes <= LIMITS.max_bytes
        assert counts.accepted == self.accepted
        held = counts.events + counts.telemetry
        assert held >= len(self.out)
        assert held + counts.accepted + sum(counts.dropped.values()) == self.given + self.noted

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)


class TwinMachine(RuleBasedStateMachine):
    """The file and the memory are one spool: the same calls have the same answers, over restarts too."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-laws-"))
        self.clock = Clock()
        self.file: Spool = SPOOLS["sqlite"](self.folder, self.clock)
        self.model = MemorySpool(LIMITS, self.clock, degraded="")
        self.out: list[str] = []

    @rule(entries=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(Grade), st.integers(0, 900)), max_size=4))
    def add(self, entries: list[tuple[int, Grade, int]]) -> None:
        given = [Entry(f"k{n}", grade, "t", b"x" * size) for n, grade, size in entries]
        assert self.file.add(given) == self.model.add(given)

    @rule(seconds=st.sampled_from([0.5, 6.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def mark(self) -> None:
        self.file.mark()
        self.model.mark()

    @rule(limit=st.integers(0, 6), grade=st.sampled_from([None, *Grade]), lane=st.sampled_from([None, *Lane]))
    def begin(self, limit: int, grade: Grade | None, lane: Lane | None) -> None:
        batch = self.model.begin(limit, grade, lane)
        assert self.file.begin(limit, grade, lane) == batch
        self.out += ids(batch)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        verdicts = {key: data.draw(st.sampled_from("arko"), label=key) for key in self.out}
        accepted, rejected, kept, self.out = ([key for key, said in verdicts.items() if said == v] for v in "arko")
        self.file.end(accepted, rejected, kept, "why")
        self.model.end(accepted, rejected, kept, "why")

    @rule()
    def reopen(self) -> None:
        self.file.close()
        self.file = SPOOLS["sqlite"](self.folder, self.clock)
        self.model.close()
        self.model.mark()
        self.out = []

    @invariant()
    def the_counts_are_the_same(self) -> None:
        assert self.file.counts() == self.model.counts()

    def teardown(self) -> None:
        self.file.close()
        shutil.rmtree(self.folder)


class ComingAndGoing(MemorySpool):
    """A disk whose state tests change by plain assignment: every call fails while it is broken."""

    broken = False

    def _check(self) -> None:
        if self.broken:
            raise TryAgain("the spool can not be used: disk I/O error")

    def add(self, entries: Iterable[Entry]) -> int:
        self._check()
        return super().add(entries)

    def begin(
        self, limit: int, grade: Grade | None = None, lane: Lane | None = None, without: Collection[str] = ()
    ) -> tuple[Entry, ...]:
        self._check()
        return super().begin(limit, grade, lane, without)

    def end(
        self, accepted: Iterable[str], rejected: Iterable[str] = (), kept: Iterable[str] = (), why: str = ""
    ) -> None:
        self._check()
        super().end(accepted, rejected, kept, why)

    def note(self, dropped: Mapping[str, int]) -> None:
        self._check()
        super().note(dropped)

    def counts(self) -> SpoolCounts:
        self._check()
        return super().counts()


ROOMY = SpoolLimits()


class FallbackMachine(RuleBasedStateMachine):
    """A disk that comes and goes: nothing is lost or comes twice between it and memory, whatever is out just then."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.disk = ComingAndGoing(ROOMY, self.clock, degraded="")
        self.spool = FallbackSpool(lambda: self.disk, ROOMY, self.clock)
        self.numbers = itertools.count()
        self.waiting: set[str] = set()
        self.out: list[str] = []
        self.done = 0

    @rule(broken=st.booleans(), later=st.booleans())
    def switch(self, broken: bool, later: bool) -> None:
        self.disk.broken = broken
        self.clock.now_s += (RETRY_S + 1) * later

    @rule(n=st.integers(1, 3), again=st.booleans())
    def add(self, n: int, again: bool) -> None:
        entries = [event(f"k{next(self.numbers)}") for _ in range(n)]
        again = again and not self.disk.broken and not self.spool.counts().degraded
        entries += [event(key) for key in sorted(self.waiting)[:2] if again]
        assert self.spool.add(entries) == len(entries)
        self.waiting |= {entry.id for entry in entries}

    @rule(limit=st.integers(1, 4), lane=st.sampled_from([None, *Lane]))
    def begin(self, limit: int, lane: Lane | None) -> None:
        taken = ids(self.spool.begin(limit, lane=lane))
        assert set(taken) <= self.waiting - set(self.out)
        self.out += taken

    @rule()
    def mark(self) -> None:
        self.spool.mark()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        verdicts = {key: data.draw(st.sampled_from("arko"), label=key) for key in self.out}
        accepted, rejected, kept, self.out = ([key for key, said in verdicts.items() if said == v] for v in "arko")
        self.spool.end(accepted, rejected, kept)
        self.waiting -= {*accepted, *rejected}
        self.done += len(accepted) + len(rejected)

    def teardown(self) -> None:
        self.disk.broken = False
        self.clock.now_s += RETRY_S + 1
        seen = set(self.out)
        while batch := ids(self.spool.begin(100)):
            assert not seen & set(batch)
            seen |= set(batch)
        assert seen == self.waiting
        self.spool.end(sorted(seen))
        counts = self.spool.counts()
        assert (counts.events, counts.degraded) == (0, "")
        assert counts.accepted + counts.dropped.get("rejected", 0) == self.done + len(seen)


def machine(name: str) -> type[RuleBasedStateMachine]:
    return type(f"{name} machine", (SpoolMachine,), {"make": staticmethod(SPOOLS[name]), "durable": name in DURABLE})


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("name", SPOOLS)
def test_any_order_of_calls(name: str) -> None:
    run(machine(name), 25 if name in DURABLE else 150)


def test_the_file_answers_as_the_memory_does() -> None:
    run(TwinMachine, 40)


def test_a_disk_that_comes_and_goes() -> None:
    run(FallbackMachine, 200)
