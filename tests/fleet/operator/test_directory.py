"""The directory: rows from messages, whatever comes; and what is said to be wrong with a device."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.fleet.desired import Desired, DesiredModel, encode_desired
from edge_runtime.fleet.operator import directory as d
from edge_runtime.fleet.operator.problems import problems
from edge_runtime.lifecycle.trust.envelope import DESIRED, encode_envelope

NOW = 1_760_000_000.0
MODEL = {"name": "shelf", "version": "1.0.0", "sha256": "ab" * 32, "phase": "committed"}


def said(kind: str, at: float = NOW - 5, session: int = 1, **fields: object) -> bytes:
    return json.dumps(
        {"schema": f"edge/{kind}/1", "site": "s", "device": "b", "session": session, "at": at, **fields}
    ).encode()


def heard(*messages: tuple[str, bytes], retained: bool = True) -> d.Device:
    known = d.Directory()
    for topic, payload in messages:
        known.take(f"edge/v1/s/b/{topic}", payload, retained, NOW)
    device = known.get("s/b")
    assert device is not None
    return device


ONLINE = ("availability", said("availability", state="online", reason="connected"))
STATUS = ("status", said("status", state="ok", model=MODEL, cameras={"c": {"state": "ok"}}, spool={"events": 2}))


def words(device: d.Device) -> list[str]:
    return [problem.word for problem in problems(device, NOW)]


def test_a_device_is_what_its_retained_messages_say():
    device = heard(ONLINE, STATUS, ("shelf/c", said("shelf", counts={"empty": 2, "unknown": 1, "stocked": 7})))
    assert device.online
    assert device.model.version == "1.0.0"
    assert (device.slots, device.count("empty"), device.unknown_share) == (10, 2, 0.1)
    assert device.last_seen(NOW) == 5.0
    assert device.skew_s is None, "what is retained says nothing of the clock"
    assert words(device) == []


def test_the_newest_word_about_the_model_counts_and_an_old_session_says_nothing_new():
    device = heard(
        STATUS, ("reported", said("reported", at=NOW, seq=3, state="converged", model=MODEL | {"version": "1.1.0"}))
    )
    assert device.model.version == "1.1.0"
    device = heard(
        ("status", said("status", session=2, state="ok", model=MODEL)), ("status", said("status", state="old"))
    )
    assert device.status.state == "ok"


def test_a_clock_is_judged_by_live_messages_or_where_it_is_ahead():
    assert heard(("status", said("status", at=NOW - 500, state="ok")), retained=False).skew_s == -500
    assert heard(("status", said("status", at=NOW + 500, state="ok"))).skew_s == 500
    assert "clock" in words(heard(ONLINE, STATUS, ("info", said("info", at=NOW + 500, version="1"))))


def test_a_signed_wish_is_shown_and_a_deleted_one_is_gone():
    wish = Desired(audience="s/b", seq=9, issued_at=NOW, model=DesiredModel(name="shelf", version="1.1.0"))
    for raw in (encode_desired(wish), encode_envelope(DESIRED, encode_desired(wish), [("k", b"x" * 64)])):
        device = heard(ONLINE, STATUS, ("desired", raw))
        assert device.desired == wish
        assert words(device) == ["not_taken"]
        assert heard(("desired", raw), ("desired", b"")).desired is None


def test_problems_come_with_the_gravest_first_and_each_has_a_sentence():
    lost = ("availability", said("availability", state="offline", reason="lost"))
    failed = ("reported", said("reported", seq=4, state="failed", reason="rolled_back", detail="unknown on 22%"))
    backlog = (
        "status",
        said("status", state="degraded", reasons=["camera c is lost"], spool={"events": 5000}, model=MODEL),
    )
    found = problems(heard(lost, failed, backlog), NOW)
    assert [problem.word for problem in found] == ["offline", "rolled_back", "degraded", "backlog"]
    assert all(problem.found for problem in found)
    assert words(heard(("availability", said("availability", state="offline", reason="stopped")))) == ["stopped"]
    silent = ("availability", said("availability", at=NOW - 5_000, state="online"))
    assert words(heard(silent)) == ["silent"]


@settings(deadline=None)
@given(st.text(max_size=60), st.binary(max_size=80), st.booleans())
def test_no_message_whatever_makes_it_fall_over(topic, payload, retained):
    known = d.Directory()
    for name in (topic, f"edge/v1/s/b/{topic}", "edge/v1/s/b/status", "edge/v1/s/b/desired", "edge/v1/s/b/shelf/c"):
        known.take(name, payload, retained, NOW)
    for device in known:
        problems(device, NOW)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["at", "session", "state", "cameras", "spool", "model", "reasons"]), st.none() | st.text() | st.integers() | st.floats() | st.lists(st.text()), max_size=5))  # fmt: skip
def test_no_status_whatever_makes_it_fall_over(fields):
    known = d.Directory()
    known.take("edge/v1/s/b/status", json.dumps(fields).encode(), True, NOW)
    for device in known:
        problems(device, NOW)


def test_groups_and_commands_are_no_devices_and_cameras_are_bounded():
    known = d.Directory()
    for topic in ("edge/v1/_group/g/cmd/ping", "edge/v1/s/_all/cmd/ping", "edge/v1/_rollout/r", "edge/v1/s/b/cmd/ping"):
        known.take(topic, said("status", state="ok"), True, NOW)
    assert len(known) == 0
    for number in range(200):
        known.take(f"edge/v1/s/b/shelf/c{number}", said("shelf", counts={"empty": 1}), True, NOW)
    assert len(known.get("s/b").shelves) == d.MAX_CAMERAS


def test_patterns_mean_devices_sites_and_both():
    assert d.matches("", "lyon", "till-1")
    assert d.matches("lyon/*", "lyon", "till-1")
    assert d.matches("*/till-?", "lyon", "till-1")
    assert d.matches("lyon", "lyon", "till-1")
    assert d.matches("till-1", "lyon", "till-1")
    assert not d.matches("paris/*", "lyon", "till-1")
