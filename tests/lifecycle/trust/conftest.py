"""A device that has refreshed once from a repository that is in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from .simulator import Device, Simulator


@pytest.fixture
def sim() -> Simulator:
    return Simulator()


@pytest.fixture
def device(tmp_path: Path, sim: Simulator) -> Device:
    device = Device(tmp_path / "state", sim)
    device.refresh()
    sim.asked.clear()
    return device
