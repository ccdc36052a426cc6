"""A small fleet on a real broker: virtual devices that believe one operator's key, and that operator's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_runtime.fleet.local_broker import LocalBroker
from edge_runtime.lifecycle.trust.command_keys import CommandKeys, encode_command_keys
from edge_runtime.simulator.fleet.plan import FleetPlan
from edge_runtime.simulator.fleet.run import Fleet
from edge_runtime.workshop.enrolment.signing import OperatorKey

DEVICES = 12


@dataclass(frozen=True)
class Town:
    broker: LocalBroker
    fleet: Fleet
    folder: Path
    """Of the operator: what `--fleet` names."""


def operator_folder(folder: Path, url: str) -> Path:
    """What `fleet init` makes, without certificates: the broker is on the loopback."""
    key = OperatorKey.create(folder / "operator.pem", "ops")
    (folder / "command-keys.json").write_bytes(encode_command_keys(CommandKeys((key.public_entry(),))))
    (folder / "fleet.toml").write_text(
        f'urls = ["{url}"]\nname = "ops"\ncommand_key = "operator.pem"\ncommand_keys = "command-keys.json"\n'
    )
    return folder


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    with LocalBroker(folder / "broker") as broker:
        place = operator_folder(folder, broker.url)
        plan = FleetPlan(
            urls=(broker.url,), devices=DEVICES, site_size=4, canary=3, spread_s=0.2, telemetry_s=0.5, event_s=4.0,
            bad=("2.0.0",), guard=0.0, shadow_s=0.3, trial_s=0.3, download_s=0.2,
            command_keys=str(place / "command-keys.json"),
        )  # fmt: skip
        with Fleet(plan) as fleet:
            fleet.until(lambda figures: figures.counts.get("births", 0) >= DEVICES, 60.0)
            yield Town(broker, fleet, place)
