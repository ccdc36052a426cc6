"""`/metrics` as Prometheus reads it: parsed by its own client library, over HTTP, for readings of every kind."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.web.board import Board
from edge_runtime.web.exposition import CONTENT_TYPE, Family, Sample, render, which
from edge_runtime.web.meter import BUCKETS_S, MAX_STAGES, CameraMeter
from edge_runtime.web.metrics import CameraReading, LineReading, Reading, families
from edge_runtime.web.server import ViewServer

from .outcomes import STATES, crops, good, layout, missing, refused
from .test_server import asked, get

READING = Reading(
    at=1_795_449_600.0,
    version="0.5.0",
    python="3.11.7",
    machine="aarch64",
    started_at=1_795_440_000.0,
    uptime_s=9_600.0,
    state="degraded",
    problems=1,
    resident_bytes=121.4e6,
    cpu_s=33.25,
    watchdog_age_s=0.4,
    model={"name": "shelf-occupancy", "version": "1.1.0", "sha256": "7f" * 32, "phase": "trial", "variant": "int8"},
    candidate={"name": "shelf-occupancy", "version": "1.2.0", "phase": "shadow"},
    agreement=0.993,
    rollbacks=2,
    cameras={
        "bay-1": CameraReading("ok", 1, 7, 0.4, "drifting", "environment", 3, 0.97, 0.99),
        "door": CameraReading("lost", age_s=None),
    },
    line=LineReading(
        "online", 3, 0, 900, 850, 2, 40, {"event": 1, "telemetry": 4}, 2_048, {"telemetry_full": 9}, False, 86_400.0,
        {"taken": 5, "limited": 1}, {"expired": 2},
    ),
)  # fmt: skip


def parsed(page: bytes) -> dict[str, Any]:
    """Families by name, as Prometheus' own library reads them."""
    parser = pytest.importorskip("prometheus_client.parser", reason="pip install 'edge-runtime[dev]'")
    return {family.name: family for family in parser.text_string_to_metric_families(page.decode())}


def values(families_by_name: dict[str, Any], name: str) -> dict[tuple[tuple[str, str], ...], float]:
    found = families_by_name[f"edge_runtime_{name}"]
    return {(*sorted(s.labels.items()), ("", s.name)): s.value for s in found.samples}


def value(families_by_name: dict[str, Any], name: str, **labels: str) -> float:
    (found,) = [s.value for s in families_by_name[f"edge_runtime_{name}"].samples if labels.items() <= s.labels.items()]
    return float(found)


def metered() -> CameraMeter:
    meter = CameraMeter()
    meter.observe(good())
    meter.observe(refused())
    meter.observe(missing())
    meter.observe(good())
    return meter


def test_the_page_has_the_type_of_the_format_and_no_figures_before_there_are_any() -> None:
    board = Board("store-7/bay", "0.0.0")
    camera = board.watch("bay-1", layout(), lambda: crops(40))
    server = ViewServer(board)
    server.start()
    try:
        assert asked(server, "/metrics")[0] == 503
        camera.observe(good())
        board.note(READING)
        status, headers, body = get(server, "/metrics")
        assert (status, headers["Content-Type"]) == (200, CONTENT_TYPE)
        assert value(parsed(body), "frames", camera="bay-1") == 1
        assert asked(server, "/metrics", host="evil.example")[0] == 403
    finally:
        server.close()


def test_the_device_is_told() -> None:
    told = parsed(render(families(READING, {})))
    assert value(told, "device_state", state="degraded") == 1
    assert value(told, "device_state", state="ok") == 0
    assert value(told, "model_info", version="1.1.0", phase="trial") == 1
    assert value(told, "resident_memory_bytes") == 121.4e6
    assert value(told, "cpu_seconds") == 33.25
    assert value(told, "watchdog_age_seconds") == 0.4
    assert value(told, "candidate_agreement_ratio") == 0.993
    assert value(told, "models_taken_back") == 2


def test_cameras_and_drift_are_told() -> None:
    told = parsed(render(families(READING, {})))
    assert value(told, "camera_state", camera="door", state="lost") == 1
    assert value(told, "drift_state", camera="bay-1", state="drifting") == 1
    assert value(told, "drift_cause", camera="bay-1", cause="environment") == 1
    assert value(told, "on_shelf_availability_ratio", camera="bay-1") == 0.97
    assert [s.labels for s in told["edge_runtime_frame_age_seconds"].samples] == [{"camera": "bay-1"}]


def test_the_line_is_told() -> None:
    told = parsed(render(families(READING, {})))
    assert value(told, "link_state", state="online") == 1
    assert value(told, "spool_messages", grade="telemetry") == 4
    assert value(told, "spool_dropped", reason="telemetry_full") == 9
    assert value(told, "commands", outcome="limited") == 1
    assert value(told, "commands_refused", reason="expired") == 2
    assert value(told, "client_certificate_remaining_seconds") == 86_400


def test_a_device_without_a_broker_or_a_model_says_so() -> None:
    bare = Reading(0.0, "1", "3", "x", 0.0, 0.0, "starting", 0, 1.0, 0.0, 0.0)
    told = parsed(render(families(bare, {})))
    assert value(told, "link_state", state="off") == 1
    assert "edge_runtime_spool_bytes" not in told
    assert "edge_runtime_model_info" not in told


def test_frames_are_counted_and_timed() -> None:
    told = parsed(render(families(READING, {"bay-1": metered().look()})))
    assert value(told, "frames", camera="bay-1") == 3
    assert value(told, "frames_unusable", reason="wrong_scene") == 1
    assert value(told, "frames_unusable", reason="no_camera") == 1
    stages = told["edge_runtime_stage_seconds"].samples
    total = [s for s in stages if s.labels["stage"] == "total" and s.name.endswith("_bucket")]
    assert [s.labels["le"] for s in total] == [*map(str, BUCKETS_S), "+Inf"]
    assert [s.value for s in total] == sorted(s.value for s in total)
    count = next(s.value for s in stages if s.labels["stage"] == "total" and s.name.endswith("_count"))
    assert total[-1].value == count == 3


def test_slots_and_confidence_are_told() -> None:
    told = parsed(render(families(READING, {"bay-1": metered().look()})))
    for state in set(STATES):
        assert value(told, "slots", camera="bay-1", state=state.value) == STATES.count(state)
    confidence = {s.name: s.value for s in told["edge_runtime_answer_confidence_ratio"].samples}
    mean = (
        confidence["edge_runtime_answer_confidence_ratio_sum"]
        / confidence["edge_runtime_answer_confidence_ratio_count"]
    )
    assert mean == pytest.approx(value(told, "estimated_accuracy_ratio", camera="bay-1"))


def test_every_name_is_of_this_program_and_has_its_unit() -> None:
    units = ("_seconds", "_bytes", "_ratio", "_total", "_info")
    counted = {"device_state", "camera_state", "drift_state", "drift_cause", "link_state", "slots", "problems"}
    counted |= {"models_taken_back", "drift_signals_moved", "link_problems", "messages_unconfirmed"}
    counted |= {"spool_messages", "spool_degraded"}
    for family in families(READING, {"bay-1": metered().look()}):
        name = family.name.removeprefix("edge_runtime_")
        assert name != family.name
        assert name.endswith(units) or name in counted
        assert (family.kind == "counter") is name.endswith("_total")
        assert family.help.endswith(".")


def test_a_frozen_look_does_not_go_on_counting() -> None:
    board = Board("d", "0")
    camera = board.watch("bay-1", layout(), lambda: crops(40))
    camera.observe(good())
    board.note(READING)
    camera.observe(good())
    page = board.metrics()
    assert page is not None
    assert value(parsed(page), "frames", camera="bay-1") == 1


def test_the_number_of_series_is_bounded() -> None:
    meter = CameraMeter()
    for n in range(200):
        meter._time(f"stage-{n}", 0.01)
    assert len(meter.look().stages) == MAX_STAGES
    cameras = {f"camera-{n}": CameraReading("ok") for n in range(16)}
    reading = Reading(0.0, "1", "3", "x", 0.0, 0.0, "ok", 0, 1.0, 0.0, 0.0, cameras=cameras)
    page = render(families(reading, {name: metered().look() for name in cameras}))
    assert len([line for line in page.splitlines() if not line.startswith(b"#")]) < 16 * 200


@given(
    st.dictionaries(st.sampled_from(["camera", "reason"]), st.text(max_size=200), min_size=1),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_any_label_and_any_number_come_back_as_they_went(labels: dict[str, str], number: float) -> None:
    told = parsed(render([Family("edge_runtime_x", "gauge", "A \\ help\nof two lines.", [Sample(number, labels)])]))
    (sample,) = told["edge_runtime_x"].samples
    assert sample.value == number or (math.isnan(sample.value) and math.isnan(number))
    if all("\r" not in v and len(v) <= 120 and v.isprintable() for v in labels.values()):
        assert sample.labels == labels


def test_a_state_that_nobody_listed_is_told_too() -> None:
    assert {s.labels["state"]: s.value for s in which("odd", ("ok",), "state")} == {"ok": 0.0, "odd": 1.0}
