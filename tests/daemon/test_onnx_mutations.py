"""Fault 11, a slice: mutated and hostile ONNX files through real proving processes. All: `make faults`."""

from __future__ import annotations

import random

import pytest

from benchmarks.faults import onnx_edits
from benchmarks.faults.onnx_mutations import campaign, held, outcome, sources
from edge_runtime.assets import factory_bundles

needs_bundles = pytest.mark.skipif(not factory_bundles(), reason="no bundle ships with this checkout")


@needs_bundles
def test_fault_11_hostile_and_malformed_models_never_reach_the_parent() -> None:
    for row in campaign(quick=True):
        assert row.held == row.points > 0, row.note


@needs_bundles
def test_every_edit_changes_the_file_and_the_same_number_makes_the_same_file() -> None:
    raw = sources()[0].raw
    for kind, (_, edit) in onnx_edits.EDITS.items():
        assert edit(raw, random.Random(1)) != raw, kind
    assert all(onnx_edits.mutate(raw, k, 1) == onnx_edits.mutate(raw, k, 1) for k in range(5))
    assert onnx_edits.mutate(raw, 1, 1)[1] != raw


def test_what_does_not_hold_is_told() -> None:
    good = {"kind": "ModelFault", "said": "model.onnx does not load", "stray": [], "wall_s": 1.0, "peak_mb": 90.0}
    assert held(good) and outcome(good) == "does not load"
    for bad in (
        {"kind": "TryAgain"},
        {"kind": "Proof", "sound": False},
        {"said": ""},
        {"stray": ["core"]},
        {"wall_s": 1e4},
        {"peak_mb": 1e4},
    ):
        assert not held(good | bad)
