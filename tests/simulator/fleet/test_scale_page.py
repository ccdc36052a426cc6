"""The page about large fleets: what is computed follows from what was measured, and is written between its marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.fleet.extrapolate import CLUSTER, DAY_MESSAGES, SIZES, row, table, units_of
from benchmarks.fleet.scale import with_figures

PAGE = Path(__file__).resolve().parents[3] / "docs/scale.md"


def line(name: str, finding: dict[str, Any]) -> dict[str, Any]:
    return {
        "phase_name": name, "devices": 1000, "seconds": 30.0, "finding": finding,
        "cpu_s": {"broker": 10.0, "devices": 1.0, "operator": 0.0},
        "peak_mb": {"broker": 160.0, "devices": 90.0, "operator": 0.0},
        "messages": {"sent": 5000, "acknowledged": 5000, "received": 0, "bytes_sent": 1},
        "nodes": {"stored_bytes": 5_000_000.0},
    }  # fmt: skip


LINES = [line("come", {"broker_empty_mb": 60.0}), line("steady", {})]


def test_units_are_costs_of_one() -> None:
    units = units_of(LINES)
    assert (units.message_ms, units.connect_ms, units.connection_kb, units.stored_bytes) == (2.0, 10.0, 100.0, 5000.0)


def test_a_million_devices_are_twenty_clusters() -> None:
    cells = row(1_000_000, units_of(LINES))
    assert cells[:3] == ["1,000,000", str(1_000_000 // CLUSTER), f"{1e6 * DAY_MESSAGES / 86_400:,.0f}"]
    assert len(table(units_of(LINES)).splitlines()) == 2 + len(SIZES)


def test_the_page_is_written_between_its_marks_and_again() -> None:
    once = with_figures(PAGE.read_text("utf-8"), LINES)
    assert "2.00 ms of processor for an acknowledged publish" in once.replace("\n", " ")
    assert with_figures(once, LINES) == once
    assert once.startswith("# How large a fleet may be") and once.rstrip().endswith("not with shops.")
