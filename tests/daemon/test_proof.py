"""Which file of a bundle runs, and why: judged from what was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.daemon.proof import Finding, Findings, Proof, ProofLimits, conclude
from edge_runtime.errors import ModelFault
from edge_runtime.lifecycle.bundle import Variant

SHA256 = "0" * 64


def finding(variant: Variant, *ms: float, said: str = "", error: float = 0.0) -> Finding:
    return Finding(variant, said, 12, error, 1.0, 1.0, 5.0, ms, ms, 20.0)


def judged(*found: Finding, latency_ms: float = 1000.0) -> Proof:
    return conclude(Findings(SHA256, found), ProofLimits(latency_ms=latency_ms), 1, 0.5)


def test_int8_runs_where_it_is_faster() -> None:
    proof = judged(finding(Variant.PACKED, 5.0, 5.2, 5.1), finding(Variant.FLOAT, 8.0, 8.1, 8.2))
    assert proof.chosen is Variant.PACKED
    assert proof.said == "int8 5.1 ms, float 8.1 ms a run: int8 runs"


def test_float_runs_where_int8_is_slower_on_this_device_and_it_says_so() -> None:
    proof = judged(finding(Variant.PACKED, 8.1, 8.0, 8.3), finding(Variant.FLOAT, 6.9, 6.8, 6.9))
    assert proof.chosen is Variant.FLOAT
    assert proof.said == "int8 8.1 ms, float 6.9 ms a run: int8 is slower on this device, float runs"


def test_a_difference_that_may_be_noise_does_not_change_the_file() -> None:
    close = judged(finding(Variant.PACKED, 8.0, 8.0, 8.0), finding(Variant.FLOAT, 7.6, 7.6, 7.6))
    assert close.chosen is Variant.PACKED and "not clearly faster" in close.said
    turns = [5.0, 10.0] * 5
    mixed = judged(finding(Variant.PACKED, *turns), finding(Variant.FLOAT, *reversed([*turns[:-2], 4.0, 4.0])))
    assert mixed.chosen is Variant.PACKED


def test_the_file_that_passes_runs_and_the_other_is_named() -> None:
    wrong = finding(Variant.PACKED, 5.0, error=3.0)
    proof = judged(wrong, finding(Variant.FLOAT, 8.0))
    assert proof.chosen is Variant.FLOAT
    assert proof.said.startswith("int8 answers its golden set with an error of 3") and proof.said.endswith("float runs")
    assert [variant.passed for variant in proof.variants] == [False, True]
    assert judged(finding(Variant.PACKED, 5.0), finding(Variant.FLOAT, said="fails: NaN")).chosen is Variant.PACKED


def test_a_model_over_the_budget_is_refused_by_its_processor_time() -> None:
    with pytest.raises(ModelFault, match="too slow: 300 ms a run, at most 200 ms"):
        judged(finding(Variant.PACKED, 300.0, 300.0, 300.0), latency_ms=200.0)
    crowded = Finding(Variant.PACKED, "", 12, 0.0, 1.0, 1.0, 5.0, (900.0, 900.0), (90.0, 90.0), 20.0)
    (variant,) = judged(crowded, latency_ms=200.0).variants
    assert (variant.median_ms, variant.wall_ms) == (90.0, 900.0)


def test_no_file_that_passes_names_what_is_wrong_with_each() -> None:
    with pytest.raises(ModelFault, match=r"model.onnx fails: NaN; model.fp32.onnx answers its golden set"):
        judged(finding(Variant.PACKED, said="fails: NaN"), finding(Variant.FLOAT, 1.0, error=9.0))


@pytest.mark.parametrize(
    "found",
    [
        (Finding(Variant.PACKED, "", 12, 0.0, 1.0, 1.0, 5.0, (), (), 20.0),),
        (Finding(Variant.PACKED, "", 0, 0.0, 1.0, 1.0, 5.0, (1.0,), (1.0,), 20.0),),
        (Finding(Variant.PACKED, "", 12, 0.0, 1.0, 1.0, 5.0, (1.0, 1.0), (1.0,), 20.0),),
        (finding(Variant.PACKED, 1.0), finding(Variant.PACKED, 1.0)),
    ],
)
def test_findings_that_prove_nothing_are_refused(found: tuple[Finding, ...]) -> None:
    with pytest.raises(ModelFault):
        judged(*found)


times = st.lists(st.floats(0.01, 1e4), min_size=3, max_size=20)


@given(times, times)
def test_float_never_runs_where_it_is_slower(int8: list[float], floating: list[float]) -> None:
    proof = judged(finding(Variant.PACKED, *int8), finding(Variant.FLOAT, *floating), latency_ms=1e9)
    packed, other = proof.variants
    assert proof.chosen is Variant.PACKED or other.median_ms < packed.median_ms
    assert packed.median_ms <= packed.p95_ms
