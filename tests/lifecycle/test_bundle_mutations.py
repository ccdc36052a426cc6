"""Faults 7 and 10, a slice: changed and forged bundles, offered to a store. All: `make faults`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.faults.bundle_mutations import campaign, forged, judged, small_entries
from benchmarks.faults.forged_zips import FORGERIES, zip_of
from edge_runtime.assets import factory_bundles

pytestmark = pytest.mark.skipif(not factory_bundles(), reason="no bundle ships with this checkout")


def test_faults_7_and_10_changed_and_forged_bundles_are_refused_by_name() -> None:
    for row in campaign(quick=True):
        assert row.held == row.points > 0, row.note


def test_the_whole_bundle_is_accepted_so_that_its_forgeries_mean_something(tmp_path: Path) -> None:
    entries = small_entries()
    assert judged(tmp_path / "b.zip", zip_of(entries)) == ("it was accepted", "")
    assert forged(entries, random.Random(1)) == forged(entries, random.Random(1))


@pytest.mark.parametrize("kind", sorted(FORGERIES))
def test_each_kind_of_forged_zip_is_refused(tmp_path: Path, kind: str) -> None:
    entries = small_entries()
    for number in range(8):
        raw = FORGERIES[kind](entries, random.Random(number))
        wrong, _ = judged(tmp_path / "b.zip", raw)
        assert not wrong or raw == zip_of(entries), wrong
