"""From a measured fleet to a large one: what is multiplied, and by what. `python -m benchmarks.fleet.extrapolate RESULTS`.

Everything here is arithmetic on two kinds of numbers: unit costs that `scale` has measured on one machine, and what a
device says in a day at the default settings (docs/asyncapi.yaml, held by the tests of telemetry).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZES = (2_000, 10_000, 100_000, 1_000_000)
CLUSTER = 50_000
"""Devices of one cluster at most, by choice: what one storm and one mistake may hit."""
NODES = 3
NODE_CORES = 8
BUSY = 0.25
"""Of the cores, in the mean: the rest is for storms and for the node that is away."""
DAY_S = 86_400.0
DAY_BYTES = 1.43e6
"""Of one camera, both ways, with acknowledgements, echoes and pings; the mark is 1.5 MB."""
DAY_MESSAGES = 720 + 96 + 200 + 200
"""Telemetry each 120 s, heartbeats each 900 s, 200 events, each with a shelf: what a device publishes in a day."""
BUNDLE_BYTES = 3e6
WISHES_PER_S = 50.0
"""An operator's process writes so many at most (fleet/operator/rollouts/run.py)."""


@dataclass(frozen=True)
class Units:
    """Measured, over all nodes of the cluster together."""

    message_ms: float
    """Processor time of one acknowledged publish at QoS 1, stored by three nodes."""
    connect_ms: float
    """Of one device that comes: connection, subscriptions, its retained state."""
    connection_kb: float
    """Memory of one connection, with what is retained of it."""
    stored_bytes: float
    """Of one device, on each node."""


def units_of(lines: list[dict[str, Any]]) -> Units:
    """From the phases `come` and `steady` of one run."""
    phases = {line["phase_name"]: line for line in lines}
    come, steady = phases["come"], phases["steady"]
    devices = come["devices"]
    return Units(
        1000.0 * steady["cpu_s"]["broker"] / max(1, steady["messages"]["acknowledged"]),
        1000.0 * come["cpu_s"]["broker"] / devices,
        max(0.0, steady["peak_mb"]["broker"] - come["finding"]["broker_empty_mb"]) * 1000.0 / devices,
        steady["nodes"]["stored_bytes"] / devices,
    )


def row(devices: int, units: Units) -> list[str]:
    """One size of fleet, one camera a device."""
    clusters = -(-devices // CLUSTER)
    each = devices / clusters
    per_s = devices * DAY_MESSAGES / DAY_S
    cores = per_s * units.message_ms / 1000.0 / BUSY
    storm_s = each * units.connect_ms / 1000.0 / (NODES * NODE_CORES)
    return [
        f"{devices:,}",
        str(clusters),
        f"{per_s:,.0f}",
        f"{devices * DAY_BYTES * 8 / DAY_S / 1e6:,.1f}",
        f"{devices * DAY_BYTES / 1e9:,.1f}",
        f"{devices * units.stored_bytes * NODES / 1e9:,.2f}",
        f"{cores:,.1f}",
        f"{devices * units.connection_kb / 1e6:,.1f}",
        f"{storm_s:,.0f}",
        f"{devices * BUNDLE_BYTES / 1e12:,.2f}",
        f"{each / WISHES_PER_S / 60.0:,.0f}",
    ]


HEADER = [
    "Devices",
    "Clusters",
    "Messages/s",
    "Mbit/s",
    "GB a day",
    "Stored GB, three copies",
    f"Broker vCPU at {BUSY:.0%}",
    "Broker memory GB",
    f"Storm of one cluster on {NODES * NODE_CORES} vCPU, s",
    "TB of one release",
    "Rollout written, minutes a cluster",
]


def table(units: Units) -> str:
    lines = [HEADER, ["---"] * len(HEADER), *(row(devices, units) for devices in SIZES)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def said(units: Units) -> str:
    """The unit costs in a sentence."""
    return (
        f"Measured for one device or message, all three nodes together: {units.message_ms:.2f} ms of processor for an"
        f" acknowledged publish, {units.connect_ms:.1f} ms for a device that comes with all its retained state,"
        f" {units.connection_kb:.0f} kB of memory for a connection, {units.stored_bytes / 1000:.1f} kB on each disk."
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.extrapolate", description=__doc__)
    parser.add_argument("results", type=Path, help="results.jsonl of benchmarks.fleet.scale")
    args = parser.parse_args(arguments)
    units = units_of([json.loads(line) for line in args.results.read_text("utf-8").splitlines()])
    print(f"{said(units)}\n\n{table(units)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
