"""Restarts by command, the ring of warnings, labels of events, temporary settings."""

from __future__ import annotations

import logging
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from edge_runtime.daemon.instruments import PACKAGE, Instruments
from edge_runtime.daemon.labels import REMEMBERED, RecentEvents
from edge_runtime.daemon.log_ring import KEPT, LogRing, last_warnings, masked
from edge_runtime.daemon.restarts import APART_S, FILE, RestartLimit
from edge_runtime.daemon.service import _Priorities, _Safe
from edge_runtime.errors import Refused, TryAgain
from edge_runtime.records import Event, Frame, Outcome
from edge_runtime.telemetry.messages import MAX_TEXT
from tests.daemon.rig import MemoryClock, Rig, shelf_picture


def test_a_restart_is_granted_once_in_a_while_also_over_processes(tmp_path: Path) -> None:
    clock = MemoryClock(1.7e9)
    RestartLimit(tmp_path, clock).pass_one()
    clock.now += APART_S - 1
    with pytest.raises(Refused, match=r"Ask again in 1 s"):
        RestartLimit(tmp_path, clock).pass_one()
    clock.now += 2
    RestartLimit(tmp_path, clock).pass_one()
    clock.now -= 1e8  # the clock was wrong
    RestartLimit(tmp_path, clock).pass_one()


@pytest.mark.parametrize("form", [_Safe("%(levelname)s %(message)s"), _Priorities("%(message)s")])
def test_what_a_stranger_sent_can_not_pose_as_a_line_of_the_log(form: logging.Formatter) -> None:
    sent = "unknown field `a\n<0>kernel: gone\x1b[2J\r\u2028WARNING x`"
    record = logging.LogRecord("x", logging.WARNING, "", 0, "a command was refused: %s", (sent,), None)
    first, *others = form.format(record).split("\n")
    assert "refused" in first and len(others) == 1 and others[0].startswith("    <0>")
    assert (first + others[0]).isprintable()


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"at": "x"}', b"\xff"])
def test_a_damaged_mark_is_none(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / FILE).write_bytes(raw)
    RestartLimit(tmp_path, MemoryClock(1.7e9)).pass_one()


def test_a_restart_that_can_not_be_marked_is_not_granted(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(TryAgain):
        RestartLimit(tmp_path / "state", MemoryClock(1.7e9)).pass_one()


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:hunter2@10.0.0.9/main is away",
        "http://cam/x.jpg?user=admin&pwd=hunter2: 401",
        "rtsp://hunter2@cam",
        "password=hunter2, user=me",
        "the token: hunter2",
        "rtsp://a:pass@word@hunter2:x@cam/",
    ],
)
def test_no_secret_leaves_the_ring(text: str) -> None:
    assert "hunter2" not in masked(text)


def test_the_ring_keeps_the_last_warnings_and_no_more() -> None:
    ring, log, root = LogRing(), logging.getLogger("tests.ring"), logging.getLogger()
    log.addHandler(ring)
    others = [handler for handler in root.handlers if isinstance(handler, LogRing)]
    root.handlers = [ring, *(handler for handler in root.handlers if handler not in others)]
    try:
        log.info("not this one")
        for number in range(KEPT + 10):
            log.warning("warning %d %s", number, "x" * 500)
        ring.emit(logging.LogRecord("tests.ring", logging.WARNING, "", 0, "bad format %d", ("word",), None))
        assert len(ring.lines()) == KEPT and "bad format" in ring.lines()[-1]
        assert all(len(line) <= MAX_TEXT and "WARNING tests.ring: " in line for line in ring.lines())
        assert last_warnings() == ring.lines()
    finally:
        root.handlers = [*(handler for handler in root.handlers if handler is not ring), *others]
        log.removeHandler(ring)


@given(st.text(max_size=300))
def test_any_text_can_be_masked(text: str) -> None:
    assert masked(masked(text)) == masked(masked(masked(text)))


def outcome_of(rig: Rig, events: tuple[Event, ...]) -> Outcome:
    view = rig.open_station(rig.config.cameras[0], None).parts.pipeline.normalizer.normalize(
        Frame("a", 1, shelf_picture(), 0.0, 0.0)
    )
    return Outcome(view.frame, view, None, (), (), events, {})


def test_labels_are_of_events_that_a_person_can_judge_and_count_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    events = RecentEvents()
    slot = Event("e1", "slot", "a", 0.0, "s1", "stocked", "empty")
    events.observe(outcome_of(rig, (slot, Event("e2", "sight", "a", 0.0, "s1", "", "blocked"))))
    found, first = events.label("e1", right=True)
    assert found.event == slot and first and not events.label("e1", right=True)[1]
    for name, right in (("e1", False), ("e2", True), ("e3", True)):
        with pytest.raises(Refused):
            events.label(name, right)
    assert dict(events.counts) == {"right": 1}
    many = tuple(Event(f"n{n}", "slot", "a", 0.0, "s1", "empty", "low") for n in range(REMEMBERED))
    events.observe(outcome_of(rig, many))
    with pytest.raises(Refused, match="last"):
        events.label("e1", right=True)


class Reports:
    def __init__(self) -> None:
        self.interval_s: float | None = 7.0

    def hasten(self, interval_s: float | None) -> None:
        self.interval_s = interval_s


def test_what_is_set_for_a_while_ends_by_itself_and_outlives_a_reload() -> None:
    clock = MemoryClock()
    instruments, first, second = Instruments(clock), Reports(), Reports()
    usual = logging.getLogger(PACKAGE).level
    try:
        instruments.attend(first, "info")
        assert first.interval_s is None and logging.getLogger(PACKAGE).level == logging.INFO
        instruments.report_faster(2.0, 60.0)
        instruments.log_finer("debug", 120.0)
        instruments.attend(first, "info")
        assert first.interval_s == 2.0 and logging.getLogger(PACKAGE).level == logging.DEBUG
        assert instruments.in_force()["telemetry_left_s"] == 60
        instruments.attend(second, "info")
        assert second.interval_s == 2.0
        clock.now += 61
        instruments.attend(second, "info")
        assert second.interval_s is None and logging.getLogger(PACKAGE).level == logging.DEBUG
        clock.now += 61
        instruments.attend(second, "warning")
        assert logging.getLogger(PACKAGE).level == logging.WARNING and instruments.in_force() == {}
        instruments.report_faster(2.0, 0.0)
        instruments.attend(second, "warning")
        assert second.interval_s is None
    finally:
        logging.getLogger(PACKAGE).setLevel(usual)
