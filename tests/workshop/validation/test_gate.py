"""gate.toml: all faults at once with their lines, and marks that fall short."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BadConfig, Unavailable
from edge_runtime.workshop.validation.gate import SECTIONS, read_gate, weigh

ROOT = Path(__file__).parents[3]
GOOD = """\
format = "model-gate/1"
[accuracy]
lab_percent = 95
[int8]
agreement_percent = 99.5
lab_loss_points = 0.2
[device]
p95_ms = 40
[[condition]]
name = "store"
severity = 3
accuracy_percent = 90.0
loss_points = 0.3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "gate.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_gate_is_one() -> None:
    assert {wanted.figure for wanted in read_gate(ROOT / "models" / "shelf-occupancy" / "gate.toml")} >= {
        "agreement_percent",
        "lab_loss_points",
        "condition_loss_points",
    }


def test_every_mark_is_read(tmp_path: Path) -> None:
    assert [(w.mark, w.relation, w.limit) for w in read_gate(written(tmp_path, GOOD))] == [
        ("accuracy.lab_percent", ">=", 95.0),
        ("int8.agreement_percent", ">=", 99.5),
        ("int8.lab_loss_points", "<=", 0.2),
        ("device.p95_ms", "<=", 40.0),
        ("store S3: accuracy_percent", ">=", 90.0),
        ("store S3: loss_points", "<=", 0.3),
    ]


@pytest.mark.parametrize("rest", ["", "[accuracy]\n", "[int8]\n[device]\n", "condition = []\n"])
def test_a_gate_that_asks_for_nothing_is_none(tmp_path: Path, rest: str) -> None:
    with pytest.raises(BadConfig, match="nothing is asked for"):
        read_gate(written(tmp_path, 'format = "model-gate/1"\n' + rest))


def test_all_faults_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """\
format = "model-gate/2"
[accuracy]
lab_percents = 95
[int8]
agreement_percent = "high"
lab_loss_points = true
[speed]
p95_ms = 4
[[condition]]
name = "store"
accuracy_percent = 101
"""
    with pytest.raises(BadConfig) as caught:
        read_gate(written(tmp_path, text))
    assert caught.value.exit_code == 78
    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        f"gate.toml:{line}" for line in (1, 3, 5, 6, 7, 9, 11)
    ]
    assert "did you mean lab_percent" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("format =", "not TOML"),
        ('format = "model-gate/1"\n', "nothing is asked for"),
        ('format = "model-gate/1"\n[[condition]]\nname = "store"\nseverity = 3\n', "nothing is asked for"),
        ('format = "model-gate/1"\naccuracy = 3\n', "accuracy"),
        ('format = "model-gate/1"\n[int8]\nspeedup = nan\n', "number from 0"),
    ],
)
def test_what_is_no_gate(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadConfig, match=told):
        read_gate(written(tmp_path, text))


def test_no_gate_file(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can not be read"):
        read_gate(tmp_path / "gate.toml")


def test_the_worst_dataset_decides_and_what_was_not_measured_falls_short(tmp_path: Path) -> None:
    gate = read_gate(written(tmp_path, GOOD))
    datasets = {
        "good": {"lab_percent": 97.0, "agreement_percent": 99.9, "lab_loss_points": 0.1},
        "bad": {"lab_percent": 94.0, "agreement_percent": 99.6, "lab_loss_points": math.nan},
    }
    cells = {"good": {("store", 3): (91.0, 0.5)}, "bad": {}}
    marks = {mark.wanted.mark: mark for mark in weigh(gate, datasets, cells, {"p95_ms": math.nan})}
    assert (marks["accuracy.lab_percent"].found, marks["accuracy.lab_percent"].where) == (94.0, "bad")
    assert not marks["accuracy.lab_percent"].met
    assert marks["int8.agreement_percent"].met
    assert marks["int8.lab_loss_points"].met
    assert marks["store S3: accuracy_percent"].met
    assert not marks["store S3: loss_points"].met
    assert not marks["device.p95_ms"].met
    assert marks["device.p95_ms"].where == "not measured"


@given(st.sampled_from(sorted(SECTIONS)), st.floats(0, 100), st.floats(0, 100))
def test_a_mark_holds_exactly_on_its_side(section: str, limit: float, found: float) -> None:
    from edge_runtime.workshop.validation.gate import Wanted

    for figure, relation in SECTIONS[section].items():
        wanted = Wanted(figure, relation, limit, section)
        assert wanted.holds(found) == (found >= limit if relation == ">=" else found <= limit)
        assert wanted.holds(limit)


@given(st.text(max_size=200))
def test_any_text_is_a_gate_or_a_told_fault(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gate.toml"
        path.write_text(text, "utf-8", errors="replace")
        try:
            read_gate(path)
        except BadConfig as fault:
            assert fault.faults
