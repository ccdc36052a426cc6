"""What operators see: it fits the terminal, whatever the names, and the keys do what they say."""

from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.cli.fleet import screen, show
from edge_runtime.cli.fleet.watch_frame import Frame
from edge_runtime.fleet.operator.directory import Device, Directory

CELLS = st.text(max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), max_size=5), st.integers(6, 60))
def test_no_line_is_wider_than_the_terminal(rows, room):
    lines = screen.grid(("ONE", "TWO", "THREE", "FOUR"), rows, room)
    assert len(lines) == len(rows) + 1
    assert all(screen.columns(line) <= room for line in lines)
    assert all(line.isprintable() for line in lines)


@settings(deadline=None)
@given(st.text(max_size=30), st.integers(1, 20))
def test_a_cell_has_the_width_it_was_given(text, room):
    assert screen.columns(screen.fit(text, room)) == room


def test_wide_signs_count_twice_and_the_last_column_stays():
    assert screen.columns("日本") == 4
    assert screen.cut("日本語", 5) == "日本…"
    narrow = screen.grid(("DEVICE", "A", "B", "WHY"), [("lyon/till-1", "1", "2", "offline")], 22)
    assert narrow[1].split() == ["lyon/till-1", "offline"]


def test_ages_are_said_as_people_do():
    assert [screen.age(s) for s in (None, 4, 80, 300, 7_200, 400_000)] == ["-", "4 s", "80 s", "5 min", "2 h", "5 d"]


def fleet(number: int) -> list[Device]:
    known = Directory()
    for n in range(number):
        head = {"schema": "x", "site": "s", "device": f"d{n:03d}", "session": 1, "at": 1.0}
        said = head | {"state": "online" if n % 5 else "offline", "reason": "lost"}
        known.take(f"edge/v1/s/d{n:03d}/availability", json.dumps(said).encode(), True, 5.0)
    return known.chosen()


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(20, 120), st.integers(5, 40), st.lists(st.sampled_from(
    ["up", "down", "page up", "page down", "home", "end", "p", ""]), max_size=6))  # fmt: skip
def test_a_frame_fits_and_scrolling_never_leaves_the_fleet(number, width, height, keys):
    devices, frame = fleet(number), Frame()
    bad = {device.id for device in devices if not device.online}
    for key in keys:
        frame.press(key)
        lines = frame.lines(devices, bad, ["12:00:00  s/d001  slot x"] * 9, "", 9.0, width, height)
        assert len(lines) <= height
        assert all(screen.columns(line) <= width for line in lines)
        assert 0 <= frame.first <= max(0, number - 1)


def test_a_frame_shows_problems_events_and_a_lost_broker():
    devices, frame = fleet(20), Frame(only_problems=True)
    bad = {device.id for device in devices if not device.online}
    text = "\n".join(frame.lines(devices, bad, ["event one"], "not connected: x", 9.0, 100, 20))
    assert "not connected: x" in text
    assert "s/d005" in text and "s/d001" not in text
    assert "event one" in text
    assert "20 devices, 16 online, 4 with a problem" in text


def test_what_a_device_says_of_itself_moves_no_cursor_and_hides_nothing(monkeypatch):
    monkeypatch.setattr("edge_runtime.cli.output._coloured", lambda: True)
    evil = "\x1b]0;mine\x07\x1b[8mhidden\x1b[0K\r\nroot@shop# \u202e"
    directory = Directory()

    def says(kind: str, **said: object) -> None:
        raw = json.dumps({"at": 1.0, "session": 1} | said).encode()
        assert directory.take(f"edge/v1/s/d/{kind}", raw, True, 2.0)

    model = {"name": evil, "version": evil, "phase": evil}
    says("availability", state="offline", reason=evil)
    says("info", version=evil, groups=[evil], commands=evil)
    camera = {evil: {"state": evil, "reason": evil}}
    spool = {"events": 1, "dropped": {evil: 1}, "degraded": evil}
    says("status", state=evil, reasons=[evil], model=model, candidate=model, cameras=camera, spool=spool)
    says("reported", seq=1, state=evil, reason=evil, detail=evil)
    says("shelf/cam", counts={evil: 1})
    device = directory.get("s/d")
    assert device is not None
    told = [screen.clean(line) for line in show.lines(device, 3.0)]
    assert len(told) > 8 and "\x1b[31moffline\x1b[0m" in told[0], "our own colours stay"
    for line in told:
        assert re.sub(r"\x1b\[\d{1,2}m", "", line).isprintable() and "\x1b[8m" not in line
