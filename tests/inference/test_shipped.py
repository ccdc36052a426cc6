"""The bundles that ship: whole, loadable, and right on their golden crops on this processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.assets import factory_bundles
from edge_runtime.inference.probe import probe_model
from edge_runtime.lifecycle.bundle import read_bundle, verify_bundle

SHIPPED = factory_bundles() or (Path("none-built"),)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_bundle_answers_its_golden_set(path: Path) -> None:
    if not path.exists():
        pytest.skip("no factory bundle has been built (models/bundles is empty)")
    verify_bundle(path)
    bundle = read_bundle(path)
    report = probe_model(bundle.model, bundle.manifest, bundle.golden_arrays())
    assert report.passed and report.count >= 4 and report.agreement == 1.0
